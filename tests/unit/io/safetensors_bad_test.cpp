#include <ATen/ATen.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "lorsa/io/safetensors.h"
#include "support/throws.h"

namespace lorsa::io {
namespace {

std::string file_of(const std::string& header, size_t data_bytes, uint64_t claimed_length) {
  std::string file(reinterpret_cast<const char*>(&claimed_length), sizeof(claimed_length));
  return file + header + std::string(data_bytes, '\0');
}

std::string file_of(const std::string& header, size_t data_bytes) {
  return file_of(header, data_bytes, header.size());
}

/// The message that reading `content` gives; the path must stand in it.
std::string tensor_refusal(const std::string& content) {
  const test::TempDir folder;
  write_file(folder / "bad.safetensors", content);
  const std::string message = test::message_of<FormatError>(
      [&] { const SafetensorsReader reader(folder / "bad.safetensors"); });
  test::require_parts(message, {(folder / "bad.safetensors").string()});
  return message;
}

std::string tensor(const std::string& dtype, const std::string& shape, const std::string& range) {
  return "{\"x\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + range +
         "}}";
}

TEST_CASE("a missing file is an IoError", "[io]") {
  const test::TempDir folder;
  test::require_parts(
      test::message_of<IoError>([&] { const SafetensorsReader reader(folder / "none"); }),
      {(folder / "none").string(), "No such file"});
}

TEST_CASE("every cut of a good file is refused", "[io]") {
  const test::TempDir folder;
  write_safetensors(folder / "good", {{"x", at::zeros({2, 3})}, {"y", at::zeros({5}, at::kByte)}});
  const std::string good = read_file(folder / "good");
  for (size_t length = 0; length < good.size(); ++length) {
    INFO(length);
    REQUIRE_FALSE(tensor_refusal(good.substr(0, length)).empty());
  }
  test::require_parts(tensor_refusal(good.substr(0, good.size() - 1)),
                      {"tensor \"y\"", "data_offsets",
                       formatted("a cut file? Its header is that of {} bytes, found {}",
                                 good.size(), good.size() - 1)});
  test::require_parts(tensor_refusal(good + "x"), {"belong to no tensor"});
}

TEST_CASE("an oversized header length is refused before anything is allocated", "[io]") {
  test::require_parts(tensor_refusal(file_of("{}", 0, std::numeric_limits<uint64_t>::max())),
                      {"header length of 18446744073709551615", "at most 2 bytes"});
  test::require_parts(tensor_refusal(file_of("{}", 0, 3)), {"header length of 3"});
  test::require_parts(tensor_refusal("\x01\x02\x03"), {"8 bytes", "3 bytes"});
  test::require_parts(tensor_refusal("abc"), {"a safetensors file", "text of 3 bytes", "\"abc\""});
  test::require_parts(tensor_refusal(""), {"a safetensors file", "0 bytes"});
}

TEST_CASE("a header that is not the expected JSON is refused", "[io]") {
  test::require_parts(tensor_refusal(file_of("{\"x\": ", 0)), {"header: byte", "expected JSON"});
  test::require_parts(tensor_refusal(file_of("[1]", 0)), {"expected an object"});
  test::require_parts(tensor_refusal(file_of("{\"x\":5}", 0)),
                      {"tensor \"x\"", "expected an object"});
  test::require_parts(tensor_refusal(file_of("{\"x\":{\"shape\":[],\"data_offsets\":[0,0]}}", 0)),
                      {"tensor \"x\": dtype", "found nothing"});
  const std::string x = "\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}";
  test::require_parts(tensor_refusal(file_of("{" + x + "," + x + "}", 1)),
                      {"expected unique keys", "\"x\""});
  test::require_parts(tensor_refusal(file_of("{\"__metadata__\":{\"k\":1}}", 0)),
                      {"__metadata__", "k", "expected text"});
  test::require_parts(tensor_refusal(file_of("{\"__metadata__\":[]}", 0)), {"__metadata__"});
}

TEST_CASE("wrong dtypes, shapes and ranges are refused by tensor name", "[io]") {
  test::require_parts(tensor_refusal(file_of(tensor("F32", "[-1]", "[0,4]"), 4)), {"shape", "-1"});
  test::require_parts(tensor_refusal(file_of(tensor("F32", "[1.5]", "[0,4]"), 4)),
                      {"shape", "1.5"});
  test::require_parts(tensor_refusal(file_of(tensor("F32", "\"4\"", "[0,4]"), 4)),
                      {"shape", "string"});
  test::require_parts(tensor_refusal(file_of(tensor("F32", "[2]", "[0,4]"), 4)),
                      {"tensor \"x\"", "expected 8 bytes", "found 4"});
  test::require_parts(tensor_refusal(file_of(tensor("F32", "[1]", "[4,0]"), 4)),
                      {"data_offsets", "[4, 0]"});
  test::require_parts(tensor_refusal(file_of(tensor("F32", "[1]", "[0,-4]"), 4)),
                      {"data_offsets", "[begin, end]"});
  test::require_parts(tensor_refusal(file_of(tensor("F32", "[1]", "[0]"), 4)), {"data_offsets"});
  test::require_parts(tensor_refusal(file_of(tensor("F32", "[1]", "[0,400]"), 4)),
                      {"data_offsets", "4 bytes of data", "[0, 400]"});
}

TEST_CASE("a shape whose size overflows is refused", "[io]") {
  test::require_parts(tensor_refusal(file_of(tensor("F32", "[4294967296,4294967296]", "[0,0]"), 0)),
                      {"tensor \"x\"", "overflow"});
  // A zero does not hide it.
  test::require_parts(
      tensor_refusal(file_of(tensor("F32", "[0,4294967296,4294967296]", "[0,0]"), 0)),
      {"overflow"});
  test::require_parts(tensor_refusal(file_of(tensor("F32", "[9223372036854775808]", "[0,0]"), 0)),
                      {"shape", "2^63"});
}

TEST_CASE("overlapping ranges and gaps are refused", "[io]") {
  const auto two = [](const std::string& first, const std::string& second) {
    return "{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" + first +
           "},\"y\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" + second + "}}";
  };
  test::require_parts(tensor_refusal(file_of(two("[0,4]", "[2,6]"), 6)),
                      {"tensor \"y\"", "byte 4", "byte 2", "overlapping"});
  test::require_parts(tensor_refusal(file_of(two("[0,4]", "[0,4]"), 4)), {"overlapping"});
  test::require_parts(tensor_refusal(file_of(two("[0,4]", "[5,9]"), 9)),
                      {"tensor \"y\"", "byte 5", "gap"});
  test::require_parts(tensor_refusal(file_of(two("[1,5]", "[5,9]"), 9)), {"tensor \"x\"", "gap"});
}

TEST_CASE("a missing tensor is refused with the nearest names", "[io]") {
  const test::TempDir folder;
  write_safetensors(folder / "a", {{"model.W_Q", at::zeros({1})}, {"bias", at::zeros({1})}});
  const SafetensorsReader reader(folder / "a");
  const auto refused = [](const auto& action) { return test::message_of<FormatError>(action); };
  test::require_parts(refused([&] { static_cast<void>(reader.read("model.W_K")); }),
                      {(folder / "a").string(), "\"model.W_K\"", "nearest: model.W_Q, bias"});
  test::require_parts(refused([&] { static_cast<void>(reader.shape("x")); }), {"\"x\""});
  test::require_parts(refused([&] { static_cast<void>(reader.dtype("x")); }), {"\"x\""});
  test::require_parts(refused([&] { static_cast<void>(reader.view("x")); }), {"\"x\""});
}

TEST_CASE("read_checked refuses wrong shapes, wrong dtypes and values that are not finite",
          "[io]") {
  const test::TempDir folder;
  at::Tensor bad = at::zeros({2, 3});
  bad[1][2] = std::numeric_limits<double>::quiet_NaN();
  at::Tensor endless = at::zeros({4}, at::kBFloat16);
  endless[1] = -std::numeric_limits<double>::infinity();
  write_safetensors(folder / "a",
                    {{"ids", at::zeros({2}, at::kInt)},
                     {"nan", bad},
                     {"inf", endless},
                     {"all nan", at::full({3}, std::numeric_limits<double>::quiet_NaN())},
                     {"large", at::full({1}, 1e30)}});
  const SafetensorsReader reader(folder / "a");
  const auto refused = [&](const std::string& name, const std::vector<int64_t>& shape,
                           at::ScalarType dtype) {
    return test::message_of<FormatError>(
        [&] { static_cast<void>(reader.read_checked(name, shape, dtype)); });
  };
  const std::string path = (folder / "a").string();
  test::require_parts(refused("nan", {3, 2}, at::kFloat),
                      {path, "\"nan\": shape: expected [3, 2], found [2, 3]"});
  test::require_parts(refused("ids", {2}, at::kFloat),
                      {path, "\"ids\": dtype: expected F64", "I32"});
  test::require_parts(refused("nan", {2, 3}, at::kFloat), {path, "\"nan\"", "nan", "flat index 5"});
  test::require_parts(refused("inf", {4}, at::kFloat), {path, "\"inf\"", "-inf", "flat index 1"});
  test::require_parts(refused("all nan", {3}, at::kDouble), {"flat index 0"});
  test::require_parts(refused("large", {1}, at::kHalf), {"1e+30", "converted"});
  REQUIRE(reader.read_checked("large", {1}, at::kDouble).item<double>() == Approx(1e30));
}

TEST_CASE("a BOOL tensor with other bytes than 0 and 1 is refused when read", "[io]") {
  const test::TempDir folder;
  std::string content = file_of(tensor("BOOL", "[3]", "[0,3]"), 3);
  content[content.size() - 1] = 2;
  write_file(folder / "a", content);
  const SafetensorsReader reader(folder / "a");
  test::require_parts(test::message_of<FormatError>([&] { static_cast<void>(reader.read("x")); }),
                      {"tensor \"x\"", "flat index 2"});
}

}  // namespace
}  // namespace lorsa::io
