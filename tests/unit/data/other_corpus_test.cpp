// Corpus files that are something else than their names say.
#include <fstream>

#include "core/file_content.h"
#include "data/corpus_files.h"
#include "lorsa/core/error.h"
#include "lorsa/data/corpus.h"
#include "lorsa/io/files.h"
#include "support/throws.h"

namespace lorsa::data {
namespace {

namespace fs = std::filesystem;

const std::string kPage = "<!DOCTYPE html>\n<html><title>Sign in</title>\n</html>\n";
const std::string kPointer =
    "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9000\n";

fs::path put_file(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

template <typename Failure = FormatError>
std::string refused_at_once(const fs::path& path) {
  CorpusConfig config;
  config.files = {path.string()};
  const std::string message =
      test::message_of<Failure>([&] { const CorpusReader reader(config, 2); });
  CHECK(test::message_of<Failure>([&] { static_cast<void>(corpus_files(config)); }) == message);
  test::require_parts(message, {path.string()});
  return message;
}

std::string text_of_files(const std::vector<std::string>& files) {
  CorpusConfig config;
  config.files = files;
  CorpusReader reader(config, 2);
  std::string all;
  while (const auto document = reader.next()) {
    all += document->text;
  }
  return all;
}

TEST_CASE("a pointer, a page and half a download are refused under every corpus name", "[data]") {
  const test::TempDir dir;
  for (const char* name : {"a.jsonl", "a.txt", "a.npy", "a.bin", "a.jsonl.gz", "a.txt.zst"}) {
    CAPTURE(name);
    const fs::path path = put_file(dir / name, kPointer);
    test::require_parts(refused_at_once(path), {"Git LFS pointer", "git lfs pull"});
    put_file(path, kPage + std::string(100, ' '));
    if (std::string(name) != "a.txt") {
      test::require_parts(refused_at_once(path), {"a web page (HTML)", "Sign in"});
    }
    put_file(path.string() + ".aria2", "x");
    test::require_parts(refused_at_once(path), {"aria2 has not finished"});
  }
}

TEST_CASE("a packed file under a plain name is refused with the right name", "[data]") {
  const test::TempDir dir;
  const std::string gzip = io::read_file(test::golden("corpora/members.jsonl.gz"));
  const std::string zstd = io::read_file(test::golden("corpora/frames.jsonl.zst"));
  for (const std::string name : {"a.jsonl", "a.txt"}) {
    test::require_parts(refused_at_once(put_file(dir / name, gzip)),
                        {"found gzip data; rename it to " + name + ".gz"});
    test::require_parts(refused_at_once(put_file(dir / name, zstd)),
                        {"found zstd data; rename it to " + name + ".zst"});
  }
  test::require_parts(refused_at_once(put_file(dir / "a.jsonl.zst", gzip)),
                      {"expected zstd data", "found gzip data", "end in .gz"});
  test::require_parts(refused_at_once(put_file(dir / "a.jsonl.gz", zstd)),
                      {"expected gzip data", "found zstd data", "end in .zst"});
}

TEST_CASE("a plain file under a packed name is refused with the right name", "[data]") {
  const test::TempDir dir;
  test::require_parts(refused_at_once(put_file(dir / "a.jsonl.gz", "{\"text\": \"a\"}\n")),
                      {"expected gzip data", "found JSON", "not packed"});
  test::require_parts(refused_at_once(put_file(dir / "a.txt.zst", "some text")),
                      {"expected zstd data", "found text", "not packed"});
}

TEST_CASE("other formats are refused by name", "[data]") {
  const test::TempDir dir;
  const std::string parquet("PAR1\x15\4\x15\x10", 8);
  const std::string utf16("\xff\xfe{\0\"\0", 6);
  test::require_parts(refused_at_once(put_file(dir / "a.jsonl", parquet)), {"Parquet"});
  test::require_parts(refused_at_once(put_file(dir / "a.txt", utf16)), {"UTF-16", "UTF-8"});
  test::require_parts(refused_at_once(put_file(dir / "a.npy", "some text")),
                      {"a .npy file", "found text"});
  const std::string npy = io::read_file(test::golden("corpora/flat_i8.npy"));
  test::require_parts(refused_at_once(put_file(dir / "a.bin", npy)),
                      {"token ids", ".npy file", "rename it to end in .npy"});
  const std::string prose = "These are words, which would become token ids of no meaning at all.";
  test::require_parts(refused_at_once(put_file(dir / "a.bin", prose)),
                      {"token ids", "These are words", ".txt or .jsonl"});
  std::filesystem::create_directory(dir / "folder.jsonl");
  test::require_parts(refused_at_once<IoError>(dir / "folder.jsonl"),
                      {"found a folder", "*.jsonl"});
  std::filesystem::create_symlink("nowhere", dir / "link.jsonl");
  test::require_parts(refused_at_once<IoError>(dir / "link.jsonl"), {"symbolic link to nowhere"});
  put_file(dir / "part.jsonl.incomplete", "x");
  test::require_parts(refused_at_once<IoError>(dir / "part.jsonl"), {"unfinished download"});
  test::require_parts(refused_at_once<ConfigError>(dir / "part.jsonl.incomplete"),
                      {"unfinished download"});
}

TEST_CASE("what is text or may be is read", "[data]") {
  const test::TempDir dir;
  // A page's source is a text, with a warning; so is JSON, and a line may hold a message.
  CHECK(text_of_files({put_file(dir / "a.txt", kPage).string()}) == kPage);
  CHECK(text_of_files({put_file(dir / "b.txt", "{\"error\": 1}").string()}) == "{\"error\": 1}");
  CHECK(text_of_files(
            {put_file(dir / "c.jsonl", "{\"message\": 1, \"text\": \"c\"}\n").string()}) == "c");
  // Few ids may look like anything; so may ids behind the two bytes of a mark.
  CHECK_NOTHROW(text_of_files({put_file(dir / "d.bin", "abcd").string()}));
  CHECK_NOTHROW(
      text_of_files({put_file(dir / "e.bin", "\x1f\x8b\x08\x07 and more ids.").string()}));
}

TEST_CASE("lines that are no documents are refused with what the file looks like", "[data]") {
  const test::TempDir dir;
  const auto refused = [](const fs::path& path) {
    return test::message_of<FormatError>([&] { text_of_files({path.string()}); });
  };
  test::require_parts(refused(put_file(dir / "a.jsonl", "[{\"text\": \"a\"}, {\"text\": \"b\"}]")),
                      {"one JSON list", "one object a line"});
  test::require_parts(refused(put_file(dir / "b.jsonl", "{\"error\": \"no access\"}")),
                      {"the answer of a server", "no access"});
  test::require_parts(refused(put_file(dir / "c.jsonl", "plain text\n")),
                      {"data.text_key", "it is text of 11 bytes that begins \"plain text\""});
}

}  // namespace
}  // namespace lorsa::data
