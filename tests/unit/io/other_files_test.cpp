// Readers of this module on what stands in the place of their files.
#include <sys/stat.h>

#include <fstream>

#include "io/hdf5.h"
#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "lorsa/io/safetensors.h"
#include "support/throws.h"

namespace lorsa::io {
namespace {

const std::string kPointer =
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    "size 269060552\n";
const std::string kPage = "<!DOCTYPE html><html><title>Not here</title></html>";
const std::string kAnswer = R"({"error": "Repository not found"})";

/// What each of the three readers says of a file with `content`.
std::vector<std::string> refusals(const std::string& content) {
  const test::TempDir dir;
  std::ofstream(dir / "a", std::ios::binary) << content;
  const auto path = dir / "a";
  std::vector<std::string> messages = {
      test::message_of<FormatError>([&] { const SafetensorsReader reader(path); }),
      test::message_of<FormatError>([&] { static_cast<void>(read_json(path)); }),
      test::message_of<FormatError>([&] { static_cast<void>(read_sealed_json(path)); }),
      test::message_of<FormatError>(
          [&] { static_cast<void>(locate_hdf5_datasets(path, {}, "complete")); })};
  for (const std::string& message : messages) {
    REQUIRE(message.starts_with(path.string() + ": "));
    REQUIRE(message.find('\n') == std::string::npos);
  }
  return messages;
}

TEST_CASE("every reader calls what it finds by its name", "[io]") {
  const std::pair<std::string, std::string> cases[] = {
      {kPointer, "a Git LFS pointer: the file itself, 269060552 bytes, was not fetched"},
      {kPage, "a web page (HTML) with the title \"Not here\""},
      {kAnswer, "the answer of a server, \"{\"error\": \"Repository not found\"}\""},
      {"\x1f\x8b\x08 and more", "gzip data"},
      {std::string("PK\x03\x04") + std::string(40, '\2'), "a zip archive"},
      {std::string("GGUF\3\0\0\0\1\0\0\0", 12), "a GGUF file"},
      {"", "an empty file (0 bytes)"},
      {"Entry not found", "text of 15 bytes that begins \"Entry not found\""}};
  for (const auto& [content, found] : cases) {
    for (const std::string& message : refusals(content)) {
      test::require_parts(message, {found});
    }
  }
}

TEST_CASE("a JSON file may begin with an error if it is more than a server's answer", "[io]") {
  const test::TempDir dir;
  write_file(dir / "a", R"({"error": 0.5, "b": 1, "c": 2, "d": 3, "e": 4})");
  CHECK(read_json(dir / "a").size() == 5);
  write_file(dir / "a", R"({"loss": 0.5})");
  CHECK(read_json(dir / "a").size() == 1);
}

TEST_CASE("read_file gives no pointer for the file that it points to", "[io]") {
  const test::TempDir dir;
  write_file(dir / "a", kPointer);
  test::require_parts(
      test::message_of<FormatError>([&] { static_cast<void>(read_file(dir / "a")); }),
      {(dir / "a").string(), "Git LFS pointer", "git lfs pull"});
}

TEST_CASE("pipes are refused, not waited for; links to nothing are explained", "[io]") {
  const test::TempDir dir;
  REQUIRE(::mkfifo((dir / "pipe").c_str(), 0600) == 0);
  test::require_parts(
      test::message_of<IoError>([&] { static_cast<void>(read_file(dir / "pipe")); }),
      {"expected a file, found a pipe"});
  test::require_parts(
      test::message_of<IoError>([&] { const SafetensorsReader reader(dir / "pipe"); }),
      {"found a pipe"});
  test::require_parts(test::message_of<IoError>([&] { static_cast<void>(read_file("/dev/null")); }),
                      {"found a device"});
  std::filesystem::create_symlink("../../blobs/0a1b", dir / "link");
  test::require_parts(
      test::message_of<IoError>([&] { const SafetensorsReader reader(dir / "link"); }),
      {"No such file", "symbolic link to ../../blobs/0a1b"});
}

TEST_CASE("a download that goes on is no safetensors file, whatever its bytes", "[io]") {
  const test::TempDir dir;
  const auto path = dir / "model.safetensors";
  write_file(path, read_file(test::golden("io/two_tensors.safetensors")));
  CHECK_NOTHROW(SafetensorsReader(path));
  write_file(dir / "model.safetensors.aria2", "x");
  test::require_parts(test::message_of<FormatError>([&] { const SafetensorsReader reader(path); }),
                      {"aria2 has not finished"});
}

}  // namespace
}  // namespace lorsa::io
