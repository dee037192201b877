#include "lorsa/io/checksum.h"

#include <string>

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "support/throws.h"

namespace lorsa::io {
namespace {

// Three blocks of the streaming readers and a rest.
std::string long_text() {
  std::string text(3 * (size_t{1} << 20) + 17, '\0');
  for (size_t i = 0; i < text.size(); ++i) {
    text[i] = static_cast<char>((i * 131) % 251);
  }
  return text;
}

TEST_CASE("xxh3 gives the reference values", "[io]") {
  // Python: xxhash.xxh3_64_intdigest(b"") and of b"abc".
  REQUIRE(xxh3("", 0) == 0x2d06800538d394c2U);
  REQUIRE(xxh3("abc", 3) == 0x78af5f94892f3950U);
}

TEST_CASE("file_xxh3 streams the same digest as the bytes at once", "[io]") {
  const test::TempDir folder;
  write_file(folder / "abc", "abc");
  REQUIRE(file_xxh3(folder / "abc") == "xxh3:78af5f94892f3950");
  write_file(folder / "empty", "");
  REQUIRE(file_xxh3(folder / "empty") == "xxh3:2d06800538d394c2");
  // Python: xxhash.xxh3_64_hexdigest(bytes((i * 131) % 251 for i in range(3 * 2**20 + 17))).
  write_file(folder / "long", long_text());
  REQUIRE(file_xxh3(folder / "long") == "xxh3:e1b611db3cb57201");
}

TEST_CASE("file_sha256 gives the standard's values", "[io]") {
  const test::TempDir folder;
  write_file(folder / "empty", "");
  REQUIRE(file_sha256(folder / "empty") ==
          "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  write_file(folder / "abc", "abc");
  REQUIRE(file_sha256(folder / "abc") ==
          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  // Python: hashlib.sha256 of the same bytes as above.
  write_file(folder / "long", long_text());
  REQUIRE(file_sha256(folder / "long") ==
          "c9a30582b8e24db2de2d9341e30096a523e2bcfda4331e6c7c27ccc56d17a419");
}

TEST_CASE("digests of a missing file or a folder are IoErrors that name it", "[io]") {
  const test::TempDir folder;
  test::require_parts(
      test::message_of<IoError>([&] { static_cast<void>(file_sha256(folder / "none")); }),
      {(folder / "none").string(), "No such file"});
  test::require_parts(
      test::message_of<IoError>([&] { static_cast<void>(file_xxh3(folder.path())); }),
      {folder.path().string(), "expected a file"});
}

}  // namespace
}  // namespace lorsa::io
