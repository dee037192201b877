// Packed text and token files, against what Python wrote (scripts/golden/corpora.py).
#include <algorithm>
#include <fstream>
#include <limits>

#include "data/corpus_files.h"
#include "data/token_file.h"
#include "lorsa/core/error.h"
#include "lorsa/data/corpus.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "support/temp_dir.h"
#include "support/test.h"
#include "support/throws.h"

namespace lorsa::data {
namespace {

using io::Json;

constexpr int32_t kSeparator = 2;

std::string put(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
  return path.string();
}

CorpusConfig corpus_of(std::vector<std::string> files) {
  CorpusConfig config;
  config.files = std::move(files);
  return config;
}

Json documents_of(const CorpusConfig& config) {
  CorpusReader reader(config, kSeparator);
  Json found = Json::array();
  while (const auto document = reader.next()) {
    CHECK(document->index == static_cast<int64_t>(found.size()));
    if (document->ids) {
      CHECK(document->text.empty());
      found.push_back(*document->ids);
    } else {
      found.push_back(document->text);
    }
  }
  CHECK(reader.bytes_read() == reader.bytes_total());
  return found;
}

CorpusConfig golden_corpus(const std::string& name) {
  CorpusConfig config = corpus_of({test::golden("corpora/" + name).string()});
  const std::pair<const char*, TokenDtype> dtypes[] = {{"uint16", TokenDtype::kUInt16},
                                                       {"uint32", TokenDtype::kUInt32},
                                                       {"int32", TokenDtype::kInt32},
                                                       {"int64", TokenDtype::kInt64}};
  for (const auto& [suffix, dtype] : dtypes) {
    if (name.find(suffix) != std::string::npos) {
      config.token_dtype = dtype;
    }
  }
  return config;
}

std::string refusal(const std::string& file, TokenDtype dtype = TokenDtype::kUInt16) {
  CorpusConfig config = corpus_of({file});
  config.token_dtype = dtype;
  return test::message_of<FormatError>([&] { documents_of(config); });
}

TEST_CASE("packed text and token files hold what Python wrote", "[data]") {
  const Json expected = io::read_json(test::golden("corpora/expected.json"));
  REQUIRE(expected.size() == 12);
  for (const auto& [name, documents] : expected.items()) {
    CAPTURE(name);
    CHECK(documents_of(golden_corpus(name)) == documents);
  }
}

TEST_CASE("a packed file that is cut or damaged is refused at the place", "[data]") {
  const test::TempDir dir;
  for (const std::string name : {"members.jsonl.gz", "frames.jsonl.zst"}) {
    CAPTURE(name);
    const std::string whole = io::read_file(test::golden("corpora/" + name));
    for (const size_t size : {size_t{3}, whole.size() / 4, whole.size() / 2, whole.size() - 1}) {
      CAPTURE(size);
      const std::string cut = put(dir / name, whole.substr(0, size));
      test::require_parts(refusal(cut), {cut, "byte " + std::to_string(size), "end of the file"});
    }
    for (const size_t at : {size_t{1}, whole.size() / 4, whole.size() / 2, whole.size() - 3}) {
      CAPTURE(at);
      std::string bad = whole;
      bad[at] = static_cast<char>(~bad[at]);
      const std::string damaged = put(dir / name, bad);
      test::require_parts(refusal(damaged), {damaged});
    }
    const std::string longer = put(dir / name, whole + "rubbish");
    test::require_parts(refusal(longer), {longer, "byte "});
  }
}

TEST_CASE("token files that do not fit are refused with place, expected and found", "[data]") {
  const test::TempDir dir;
  const std::string npy = io::read_file(test::golden("corpora/flat_i8.npy"));
  const auto changed = [&](const std::string& from, const std::string& to) {
    REQUIRE(from.size() == to.size());
    std::string bytes = npy;
    bytes.replace(bytes.find(from), from.size(), to);
    return put(dir / "a.npy", bytes);
  };
  test::require_parts(refusal(changed("NUMPY", "numpy")), {"a.npy", ".npy file"});
  test::require_parts(refusal(changed("'<i8'", "'<f8'")), {"a.npy", "'<u2'", "'<f8'"});
  test::require_parts(refusal(changed("'<i8'", "'>i8'")), {"'>i8'"});
  test::require_parts(refusal(changed("False", "True ")), {"fortran_order False", "True"});
  test::require_parts(refusal(changed("(77,)", "(78,)")), {"78 ids of 8 bytes", "616 bytes"});
  test::require_parts(refusal(changed("(77,)", "(0, )")), {"one or two dimensions", "(0, "});
  test::require_parts(refusal(changed("(77,)", "(   )")), {"one or two dimensions"});
  test::require_parts(refusal(changed("descr", "dtype")), {"expected descr"});
  test::require_parts(refusal(put(dir / "a.npy", npy.substr(0, 60))), {"end of the file"});
  test::require_parts(refusal(put(dir / "a.npy", npy.substr(0, npy.size() - 1))), {"77 ids"});
  test::require_parts(refusal(put(dir / "a.bin", "12345")), {"a.bin", "2 bytes", "token_dtype"});
  const std::string negative("\x01\0\0\0\xff\xff\xff\xff", 8);
  test::require_parts(refusal(put(dir / "a.bin", negative), TokenDtype::kInt32),
                      {"a.bin", "id 1", "[0, 2^31)", "-1"});
  test::require_parts(refusal(put(dir / "a.bin", negative), TokenDtype::kUInt32), {"4294967295"});
}

TEST_CASE("a flat file without separators becomes documents of bounded length", "[data]") {
  const test::TempDir dir;
  const std::string ids(static_cast<size_t>(2 * (kMaxDocumentTokens + 5)), '\x01');
  const Json found = documents_of(corpus_of({put(dir / "a.bin", ids)}));
  REQUIRE(found.size() == 2);
  CHECK(found[0].size() == static_cast<size_t>(kMaxDocumentTokens));
  CHECK(found[1] == Json(std::vector<int32_t>(5, 0x0101)));
}

TEST_CASE("patterns give the files in the order of their bytes, each once", "[data]") {
  const test::TempDir dir;
  for (const std::string name : {"b.txt", "a.txt", "Z.txt", "c1.jsonl", "[x].txt"}) {
    put(dir / name, name == "c1.jsonl" ? "{\"text\": \"c1.jsonl\"}" : name);
  }
  const auto in_dir = [&](const std::string& name) { return (dir / name).string(); };
  CHECK(documents_of(corpus_of({in_dir("c?.jsonl"), in_dir("[a-z].txt")})) ==
        Json({"c1.jsonl", "a.txt", "b.txt"}));
  CHECK(documents_of(corpus_of({in_dir("*.txt")})) == Json({"Z.txt", "[x].txt", "a.txt", "b.txt"}));
  CHECK(documents_of(corpus_of({in_dir("[x].txt")})) == Json({"[x].txt"}));
  const auto refused = [&](std::vector<std::string> files) {
    return test::message_of<ConfigError>([&] { documents_of(corpus_of(std::move(files))); });
  };
  test::require_parts(refused({in_dir("q*.txt")}), {in_dir("q*.txt"), "no file matches"});
  test::require_parts(refused({in_dir("a.txt"), in_dir("*.txt")}), {in_dir("a.txt"), "twice"});
  put(dir / "a.csv", "x");
  test::require_parts(refused({in_dir("a.*")}), {in_dir("a.csv"), ".jsonl or .txt"});
}

TEST_CASE("no more tokens come out of a corpus than most_tokens_of_corpus says", "[data]") {
  const Json expected = io::read_json(test::golden("corpora/expected.json"));
  for (const auto& [name, documents] : expected.items()) {
    CAPTURE(name);
    const int64_t most = most_tokens_of_corpus(golden_corpus(name));
    if (name.ends_with("gz") || name.ends_with("zst")) {
      CHECK(most == std::numeric_limits<int64_t>::max());
      continue;
    }
    size_t needed = 0;
    for (const Json& document : documents) {
      needed += document.size() + 1;
    }
    CHECK(most + 1 >= static_cast<int64_t>(needed));  // no separator behind the last document
    CHECK(most < 2 * static_cast<int64_t>(needed));
  }
  const test::TempDir dir;
  CHECK(most_tokens_of_corpus(corpus_of({put(dir / "a.txt", "abcd")})) == 12);
}

TEST_CASE("the held-out side of token documents depends on their ids", "[data]") {
  int taken = 0;
  for (int i = 0; i < 20000; ++i) {
    const Document document{{}, std::vector<int32_t>{i, 7, 9}, i};
    taken += is_heldout(document, 0.05) ? 1 : 0;
  }
  CHECK(std::abs(taken - 1000) < 155);  // binomial, 5 sigma
}

}  // namespace
}  // namespace lorsa::data
