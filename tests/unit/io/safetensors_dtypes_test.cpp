// Dtypes of the format that are not read: they must be in no one's way. Right values come from the
// reference implementation (scripts/golden/safetensors_dtypes.py).
#include <ATen/ATen.h>

#include <string>

#include "io/safetensors_dtype.h"
#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "lorsa/io/safetensors.h"
#include "support/throws.h"

namespace lorsa::io {
namespace {

std::string one_tensor(const std::string& dtype, size_t elements, size_t bytes) {
  const std::string header = formatted(
      R"({{"x":{{"dtype":"{}","shape":[{}],"data_offsets":[0,{}]}}}})", dtype, elements, bytes);
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header +
         std::string(bytes, '\1');
}

TEST_CASE("all dtypes of the format are known with their sizes", "[io]") {
  const test::TempDir dir;
  const Json bits = read_json(test::golden("io/dtype_bits.json"));
  REQUIRE(bits.size() == 22);
  for (const auto& [name, value] : bits.items()) {
    CAPTURE(name);
    const auto size = value.get<size_t>();
    REQUIRE(dtype_of_name(name));
    CHECK(dtype_of_name(name)->bits == size);
    write_file(dir / "a", one_tensor(name, 8, size));
    CHECK(SafetensorsReader(dir / "a").shape("x") == std::vector<int64_t>{8});
    for (const size_t wrong : {size - 1, size + 1}) {
      write_file(dir / "a", one_tensor(name, 8, wrong));
      test::require_parts(
          test::message_of<FormatError>([&] { const SafetensorsReader reader(dir / "a"); }),
          {"tensor \"x\"", formatted("expected {} bytes", size),
           formatted("dtype, found {}", wrong)});
    }
  }
}

TEST_CASE("elements of less than a byte fill whole bytes", "[io]") {
  const test::TempDir dir;
  write_file(dir / "a", one_tensor("F4", 6, 3));
  CHECK_NOTHROW(SafetensorsReader(dir / "a"));
  write_file(dir / "a", one_tensor("F6_E2M3", 12, 9));
  CHECK_NOTHROW(SafetensorsReader(dir / "a"));
  write_file(dir / "a", one_tensor("F4", 5, 3));
  test::require_parts(
      test::message_of<FormatError>([&] { const SafetensorsReader reader(dir / "a"); }),
      {"tensor \"x\"", "4 bits", "whole bytes"});
}

TEST_CASE("a tensor of another dtype is refused when it is read, and then alone", "[io]") {
  const SafetensorsReader reader(test::golden("io/unread_dtypes.safetensors"));
  REQUIRE(reader.names().size() == 7);
  CHECK(at::equal(reader.read("weight"), at::arange(6, at::kFloat).reshape({2, 3})));
  CHECK(reader.shape("float8_e4m3fn") == std::vector<int64_t>{6});
  CHECK(reader.contains("uint16"));
  const auto refused = [&](const auto& action) {
    test::require_parts(test::message_of<FormatError>(action),
                        {"unread_dtypes.safetensors", "\"float8_e4m3fn\": dtype",
                         "expected one of F64", "F8_E4M3"});
  };
  refused([&] { static_cast<void>(reader.dtype("float8_e4m3fn")); });
  refused([&] { static_cast<void>(reader.view("float8_e4m3fn")); });
  refused([&] { static_cast<void>(reader.read("float8_e4m3fn")); });
  refused([&] { static_cast<void>(reader.read_checked("float8_e4m3fn", {6}, at::kFloat)); });
  for (const char* name : {"float8_e5m2", "uint16", "uint32", "uint64", "complex64"}) {
    CHECK_THROWS_AS(reader.read(name), FormatError);
  }
}

TEST_CASE("a dtype that nobody knows is passed over; its range must fit the others", "[io]") {
  const test::TempDir dir;
  write_file(dir / "a", one_tensor("F2", 3, 7));
  const SafetensorsReader reader(dir / "a");
  test::require_parts(test::message_of<FormatError>([&] { static_cast<void>(reader.read("x")); }),
                      {"\"x\": dtype", "found F2"});
  write_file(dir / "a", one_tensor("F2", 3, 7) + "more");
  test::require_parts(
      test::message_of<FormatError>([&] { const SafetensorsReader bad(dir / "a"); }),
      {"belong to no tensor"});
}

}  // namespace
}  // namespace lorsa::io
