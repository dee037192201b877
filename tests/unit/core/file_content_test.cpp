// What files are, against heads that their usual writers wrote (scripts/golden/file_heads.py).
#include "core/file_content.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "lorsa/core/error.h"
#include "support/throws.h"

namespace lorsa {
namespace {

namespace fs = std::filesystem;

struct Head {
  std::string name;
  std::string content;
  uint64_t size = 0;
  std::string bytes;
};

std::vector<Head> golden_heads() {
  std::ifstream file(test::golden("core/file_heads.json"));
  std::vector<Head> heads;
  const nlohmann::json all = nlohmann::json::parse(file);
  for (const auto& [name, entry] : all.items()) {
    const auto hex = entry["head"].get<std::string>();
    Head head{name, entry["content"], entry["size"], ""};
    for (size_t i = 0; i < hex.size(); i += 2) {
      head.bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    }
    heads.push_back(head);
  }
  return heads;
}

const std::map<std::string, Content> kContents = {{"kUnknown", Content::kUnknown},
                                                  {"kEmpty", Content::kEmpty},
                                                  {"kZeros", Content::kZeros},
                                                  {"kGitLfsPointer", Content::kGitLfsPointer},
                                                  {"kGitAnnexPointer", Content::kGitAnnexPointer},
                                                  {"kWebPage", Content::kWebPage},
                                                  {"kXml", Content::kXml},
                                                  {"kServerAnswer", Content::kServerAnswer},
                                                  {"kJson", Content::kJson},
                                                  {"kText", Content::kText},
                                                  {"kUtf16", Content::kUtf16},
                                                  {"kGzip", Content::kGzip},
                                                  {"kZstd", Content::kZstd},
                                                  {"kOtherPacked", Content::kOtherPacked},
                                                  {"kTar", Content::kTar},
                                                  {"kZip", Content::kZip},
                                                  {"kTorchZip", Content::kTorchZip},
                                                  {"kPickle", Content::kPickle},
                                                  {"kSafetensors", Content::kSafetensors},
                                                  {"kGguf", Content::kGguf},
                                                  {"kHdf5", Content::kHdf5},
                                                  {"kNumpy", Content::kNumpy},
                                                  {"kOtherFormat", Content::kOtherFormat}};

std::string found(const std::string& text) {
  return content_of(text, text.size()).found;
}

fs::path put(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

TEST_CASE("files are what their writers wrote", "[core]") {
  const std::vector<Head> heads = golden_heads();
  REQUIRE(heads.size() == 42);
  for (const Head& head : heads) {
    CAPTURE(head.name);
    const FileContent content = content_of(head.bytes, head.size);
    CHECK(content.content == kContents.at(head.content));
    CHECK(content.found.empty() == (head.content == "kUnknown"));
    CHECK(content.found.find('\n') == std::string::npos);
  }
}

TEST_CASE("no beginning of a file, whole or cut or damaged, is more than a guess", "[core]") {
  std::mt19937 random(7);
  for (const Head& head : golden_heads()) {
    for (size_t size = 0; size <= head.bytes.size(); ++size) {
      static_cast<void>(content_of(std::string_view(head.bytes).substr(0, size), size));
    }
    for (int i = 0; i < 200 && !head.bytes.empty(); ++i) {
      std::string bad = head.bytes;
      bad[random() % bad.size()] = static_cast<char>(random());
      const FileContent content = content_of(bad, head.size);
      REQUIRE((content.content == Content::kUnknown) == content.found.empty());
    }
  }
}

TEST_CASE("what is found is said in words, with what the file itself says", "[core]") {
  const auto lfs = content_of(
      "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 269060552\n", 134);
  CHECK(lfs.found == "a Git LFS pointer: the file itself, 269060552 bytes, was not fetched");
  CHECK(lfs.next.find("git lfs pull") != std::string::npos);
  CHECK(found("<!doctype html><title>Sign\nin</title>") ==
        "a web page (HTML) with the title \"Sign in\"");
  CHECK(found("<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>") ==
        "an XML document with the error code ExpiredToken");
  CHECK(found("{\"error\": \"Repository not found\"}") ==
        "the answer of a server, \"{\"error\": \"Repository not found\"}\"");
  CHECK(found("Entry not found") == "text of 15 bytes that begins \"Entry not found\"");
  CHECK(found("") == "an empty file (0 bytes)");
  CHECK(found("\r\n \n") == "blank text");
  // Not a pointer: a text about pointers.
  const std::string about = "version https://git-lfs.github.com/spec/v1" + std::string(2000, '.');
  CHECK(content_of(std::string_view(about).substr(0, kContentBytes), about.size()).content ==
        Content::kText);
}

TEST_CASE("other content is refused with expected, found and the next step", "[core]") {
  const test::TempDir dir;
  const fs::path gzip = put(dir / "a.json", "\x1f\x8b\x08 packed");
  const std::string message = test::message_of<FormatError>([&] {
    refuse_other_content(gzip, "JSON", {Content::kJson, Content::kText});
  });
  CHECK(message.starts_with(gzip.string() + ": expected JSON, found gzip data; unpack it"));
  CHECK_NOTHROW(refuse_other_content(gzip, "gzip data", {Content::kGzip}));
  CHECK_NOTHROW(refuse_other_content(put(dir / "b", "\x01\x02\x03"), "JSON", {Content::kJson}));
  // What cannot be read is the business of the reading.
  CHECK_NOTHROW(refuse_other_content(dir / "none", "JSON", {Content::kJson}));
  CHECK_NOTHROW(refuse_other_content(dir.path(), "JSON", {Content::kJson}));
  REQUIRE(::mkfifo((dir / "pipe").c_str(), 0600) == 0);
  CHECK_NOTHROW(refuse_other_content(dir / "pipe", "JSON", {Content::kJson}));
  CHECK(content_of_file(gzip).content == Content::kGzip);
}

TEST_CASE("a download that aria2 goes on with is refused", "[core]") {
  const test::TempDir dir;
  const fs::path file = put(dir / "model.safetensors", std::string(100, '\0'));
  CHECK_NOTHROW(refuse_unfinished_download(file));
  put(dir / "model.safetensors.aria2", "x");
  test::require_parts(test::message_of<FormatError>([&] { refuse_unfinished_download(file); }),
                      {file.string(), "model.safetensors.aria2 beside it", "has not finished"});
}

TEST_CASE("why_absent names unfinished and packed files beside the one that is missing", "[core]") {
  const test::TempDir dir;
  const fs::path model = dir / "model.safetensors";
  CHECK(why_absent(model).empty());
  for (const std::string suffix : {".incomplete", ".part", ".crdownload"}) {
    const fs::path part = put(model.string() + suffix, "x");
    test::require_parts(why_absent(model), {"found " + part.string(), "unfinished download"});
    fs::remove(part);
  }
  // hf download --local-dir
  const fs::path local =
      put(dir / ".cache/huggingface/download/model.safetensors.0a1b.incomplete", "x");
  test::require_parts(why_absent(model), {local.string(), "unfinished download"});
  CHECK(why_absent(dir / "other.safetensors").empty());
  // The hub's cache
  const fs::path blob = put(dir / "models--a--b/blobs/0a1b.incomplete", "x");
  fs::create_directories(dir / "models--a--b/snapshots/main");
  test::require_parts(why_absent(dir / "models--a--b/snapshots/main/model.safetensors"),
                      {blob.string()});
  const fs::path packed = put(dir / "corpus.jsonl.gz", "x");
  test::require_parts(why_absent(dir / "corpus.jsonl"), {"found " + packed.string(), "unpack"});
}

TEST_CASE("why_absent names links to nothing, missing folders and files in a folder's place",
          "[core]") {
  const test::TempDir dir;
  fs::create_symlink("../../blobs/0a1b", dir / "model.safetensors");
  test::require_parts(why_absent(dir / "model.safetensors"),
                      {"symbolic link to ../../blobs/0a1b", "not there", "Hugging Face cache"});
  fs::create_symlink("../.git/annex/objects/0/1", dir / "annexed");
  test::require_parts(why_absent(dir / "annexed"), {"git annex get"});
  CHECK(is_there(dir / "annexed"));
  CHECK_FALSE(is_there(dir / "none"));
  test::require_parts(why_absent(dir / "none/deep/model.safetensors"),
                      {"there is no folder " + (dir / "none").string()});
  put(dir / "file", "x");
  test::require_parts(why_absent(dir / "file/config.json"),
                      {(dir / "file").string() + " is a file"});
  CHECK(why_absent(dir / "file").empty());
  test::require_parts(why_absent("~/models/a"), {"~ is not expanded"});
  test::require_parts(why_absent("https://huggingface.co/a/b"), {"is an address"});
}

TEST_CASE("why_absent names what may not be read or entered", "[core]") {
  const test::TempDir dir;
  const fs::path file = put(dir / "closed/file", "x");
  REQUIRE(::chmod(dir.path().c_str(), 0755) == 0);
  REQUIRE(::chmod(file.c_str(), 0) == 0);
  // The superuser may read everything: the question is asked as somebody else.
  const bool superuser = ::geteuid() == 0;
  const auto asked = [&] {
    const bool changed = superuser && ::seteuid(65534) == 0;
    const std::string answer = why_absent(file);
    return changed && ::seteuid(0) != 0 ? std::string("still somebody else") : answer;
  };
  test::require_parts(asked(), {"chmod a+r"});
  REQUIRE(::chmod((dir / "closed").c_str(), 0) == 0);
  test::require_parts(asked(), {(dir / "closed").string() + " may not be entered"});
  REQUIRE(::chmod((dir / "closed").c_str(), 0755) == 0);
}

}  // namespace
}  // namespace lorsa
