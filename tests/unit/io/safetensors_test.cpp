#include "lorsa/io/safetensors.h"

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "support/file_size_limit.h"
#include "support/tensors.h"
#include "support/throws.h"

namespace lorsa::io {
namespace {

at::Tensor sample(at::ScalarType dtype) {
  const at::Tensor numbers = at::arange(-3, 9, at::kDouble).reshape({3, 4});
  return dtype == at::kByte   ? numbers.abs().to(dtype)
         : dtype == at::kBool ? numbers.gt(0)
                              : (c10::isFloatingType(dtype) ? numbers / 8 : numbers).to(dtype);
}

TEST_CASE("a file of Python's safetensors is read with names, shapes, dtypes and values", "[io]") {
  const SafetensorsReader reader(test::golden("io/all_dtypes.safetensors"));
  const Json expected = read_json(test::golden("io/all_dtypes.json"));
  REQUIRE(reader.names().size() == expected.at("tensors").size());
  for (const auto& [name, entry] : expected.at("tensors").items()) {
    INFO(name);
    const at::Tensor tensor = reader.read(name);
    REQUIRE(c10::toString(tensor.scalar_type()) == entry.at("dtype").get<std::string>());
    REQUIRE(tensor.sizes().vec() == entry.at("shape").get<std::vector<int64_t>>());
    REQUIRE(reader.shape(name) == tensor.sizes().vec());
    REQUIRE(reader.dtype(name) == tensor.scalar_type());
    const auto values = entry.at("values").get<std::vector<double>>();
    const at::Tensor flat = tensor.to(at::kDouble).flatten();
    REQUIRE(flat.numel() == static_cast<int64_t>(values.size()));
    for (size_t i = 0; i < values.size(); ++i) {
      REQUIRE(flat[static_cast<int64_t>(i)].item<double>() == values[i]);
    }
  }
  REQUIRE(reader.metadata() == std::map<std::string, std::string>{{"format", "pt"}, {"k", "v"}});
}

TEST_CASE("what write_safetensors writes is what Python's safetensors writes", "[io]") {
  const test::TempDir folder;
  // Two float32 tensors in the order in which the Python package puts them.
  write_safetensors(folder / "a.safetensors",
                    {{"bias", at::arange(3, at::kFloat)},
                     {"weight", at::arange(6, at::kFloat).reshape({2, 3}) / 4}});
  REQUIRE(read_file(folder / "a.safetensors") ==
          read_file(test::golden("io/two_tensors.safetensors")));
}

TEST_CASE("every dtype survives a round trip bit for bit, in the given order", "[io]") {
  const test::TempDir folder;
  NamedTensors tensors;
  for (const at::ScalarType dtype : {at::kByte, at::kDouble, at::kFloat, at::kHalf, at::kBFloat16,
                                     at::kBool, at::kLong, at::kInt, at::kShort, at::kChar}) {
    tensors.emplace_back(c10::toString(dtype), sample(dtype));
  }
  tensors.emplace_back("odd", at::ones({3}, at::kByte));
  tensors.emplace_back("behind odd", at::arange(5, at::kDouble));  // at an odd address
  tensors.emplace_back("scalar", at::scalar_tensor(2.5, at::kFloat));
  tensors.emplace_back("empty", at::zeros({0, 7}, at::kFloat));
  tensors.emplace_back("transposed", at::arange(6, at::kFloat).reshape({2, 3}).t());
  write_safetensors(folder / "a", tensors, {{"key \"quoted\"", "wert ä"}});

  const SafetensorsReader reader(folder / "a");
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) {
    INFO(name);
    names.push_back(name);
    REQUIRE(reader.contains(name));
    REQUIRE(reader.dtype(name) == tensor.scalar_type());
    REQUIRE(at::equal(reader.read(name), tensor));
    REQUIRE(at::equal(reader.view(name), tensor));
  }
  REQUIRE(reader.names() == names);
  REQUIRE_FALSE(reader.contains("none"));
  REQUIRE(reader.metadata().at("key \"quoted\"") == "wert ä");
  REQUIRE(reader.path() == folder / "a");
}

TEST_CASE("a file without tensors is legal", "[io]") {
  const test::TempDir folder;
  write_safetensors(folder / "a", {});
  REQUIRE(SafetensorsReader(folder / "a").names().empty());
}

TEST_CASE("a view outlives its reader and read copies", "[io]") {
  const test::TempDir folder;
  write_safetensors(folder / "a", {{"x", at::arange(8, at::kFloat)}});
  at::Tensor view;
  at::Tensor copy;
  {
    const SafetensorsReader reader(folder / "a");
    view = reader.view("x");
    copy = reader.read("x");
  }
  copy.fill_(-1);  // a mapping would crash here
  REQUIRE(at::equal(view, at::arange(8, at::kFloat)));
}

TEST_CASE("read_checked converts floating tensors and leaves a private copy", "[io]") {
  const test::TempDir folder;
  write_safetensors(folder / "a", {{"x", sample(at::kBFloat16)}, {"y", sample(at::kFloat)}});
  const SafetensorsReader reader(folder / "a");
  const at::Tensor x = reader.read_checked("x", {3, 4}, at::kFloat);
  REQUIRE(x.scalar_type() == at::kFloat);
  REQUIRE(at::equal(x, sample(at::kFloat)));
  reader.read_checked("y", {3, 4}, at::kFloat).fill_(1);
  REQUIRE(at::equal(reader.view("y"), sample(at::kFloat)));
}

TEST_CASE("a tensor that is made while it is written stands in the file like any other", "[io]") {
  const test::TempDir folder;
  // 20 MiB, so that it is made in two pieces.
  constexpr int64_t kRows = 5;
  constexpr int64_t kColumns = int64_t{4} << 20;
  const at::Tensor whole = at::arange(kRows * kColumns, at::kLong).remainder(251).to(at::kByte);
  const at::Tensor matrix = whole.view({kRows, kColumns});
  int64_t pieces = 0;
  const MadeTensor made{"m", at::kByte, kRows, kColumns, [&](int64_t first, int64_t count) {
                          ++pieces;
                          return matrix.narrow(0, first, count);
                        }};
  write_safetensors(folder / "made", {{"x", sample(at::kFloat)}}, {{"format", "pt"}}, {made});
  write_safetensors(folder / "whole", {{"x", sample(at::kFloat)}, {"m", matrix}},
                    {{"format", "pt"}});
  REQUIRE(pieces == 2);
  REQUIRE(read_file(folder / "made") == read_file(folder / "whole"));
  MadeTensor wrong = made;
  wrong.make = [](int64_t, int64_t count) { return at::zeros({count, 3}, at::kByte); };
  test::require_parts(
      test::message_of<ShapeError>([&] { write_safetensors(folder / "made", {}, {}, {wrong}); }),
      {"\"m\"", "[4, 4194304]", "[4, 3]"});
}

TEST_CASE("the writer refuses what the format cannot hold", "[io]") {
  const test::TempDir folder;
  const at::Tensor x = at::zeros({2}, at::kFloat);
  const auto refused = [&](const NamedTensors& tensors) {
    return test::message_of<FormatError>([&] { write_safetensors(folder / "a", tensors); });
  };
  test::require_parts(refused({{"x", x}, {"x", x}}), {"\"x\"", "twice"});
  test::require_parts(refused({{"x", at::Tensor()}}), {"\"x\"", "undefined"});
  test::require_parts(refused({{"__metadata__", x}}), {"reserved"});
  test::require_parts(refused({{"c", at::zeros({2}, at::kComplexFloat)}}),
                      {"\"c\"", "expected one of F64", "ComplexFloat"});
  REQUIRE(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("a full disk leaves the old file and no temporary one", "[io]") {
  const test::TempDir folder;
  write_safetensors(folder / "a", {{"x", at::arange(4, at::kFloat)}});
  {
    const test::FileSizeLimit limit(4096);
    REQUIRE_THROWS_AS(write_safetensors(folder / "a", {{"x", at::zeros({5000}, at::kFloat)}}),
                      IoError);
  }
  REQUIRE(at::equal(SafetensorsReader(folder / "a").read("x"), at::arange(4, at::kFloat)));
  REQUIRE_FALSE(std::filesystem::exists(folder / "a.tmp"));
}

}  // namespace
}  // namespace lorsa::io
