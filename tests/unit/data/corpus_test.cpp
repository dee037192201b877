#include "lorsa/data/corpus.h"

#include <cmath>
#include <fstream>
#include <functional>

#include "lorsa/core/error.h"
#include "support/test.h"

namespace lorsa::data {
namespace {

std::string put_text(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
  return path.string();
}

CorpusConfig text_corpus_of(std::vector<std::string> files, double max_bad_share = 0.0) {
  CorpusConfig config;
  config.files = std::move(files);
  config.max_bad_share = max_bad_share;
  return config;
}

std::vector<std::string> texts(CorpusReader& reader) {
  std::vector<std::string> all;
  while (const std::optional<Document> document = reader.next()) {
    CHECK(document->index == static_cast<int64_t>(all.size()));
    all.push_back(document->text);
  }
  return all;
}

std::vector<std::string> texts(const CorpusConfig& config) {
  CorpusReader reader(config);
  return texts(reader);
}

template <typename ErrorType>
std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const ErrorType& error) {
    return error.what();
  }
  return "nothing thrown";
}

TEST_CASE("CorpusReader reads .jsonl and .txt in the order of the files", "[data]") {
  const test::TempDir dir;
  const std::string lines = put_text(dir / "b.jsonl",
                                     "{\"text\": \"one\"}\n"
                                     "\n"
                                     "{\"id\": 7, \"text\": \"t\\u00e4 \\ud83d\\ude00\\n\"}\r\n"
                                     "{\"text\": \"\"}\n"
                                     "{\"text\": \"last line without an end\"}");
  const std::string text = put_text(dir / "a.txt", "\xEF\xBB\xBFwhole\nfile\n");
  CorpusReader reader(text_corpus_of({lines, text}));
  CHECK(texts(reader) == std::vector<std::string>{"one", "t\xC3\xA4 \xF0\x9F\x98\x80\n", "",
                                                  "last line without an end", "whole\nfile\n"});
  CHECK(reader.bad_lines() == 0);
  CHECK(reader.bytes_read() >= reader.bytes_total());
  CHECK_FALSE(reader.next().has_value());
}

TEST_CASE("CorpusReader takes the text from the configured key", "[data]") {
  const test::TempDir dir;
  CorpusConfig config =
      text_corpus_of({put_text(dir / "a.jsonl", "{\"text\": \"no\", \"content\": \"yes\"}\n")});
  config.text_key = "content";
  CHECK(texts(config) == std::vector<std::string>{"yes"});
}

TEST_CASE("CorpusReader skips and counts what is not a document", "[data]") {
  const test::TempDir dir;
  const std::vector<std::string> broken = {
      "{\"text\": \"cut",
      "[1, 2]",
      "{\"other\": \"key\"}",
      "{\"text\": 5}",
      "{\"text\": null}",
      "{\"text\": \"twice\", \"text\": \"given\"}",
      "{\"text\": \"lone \\ud800 surrogate\"}",
      "{\"text\": \"bad byte \xFF\"}",
      "{\"text\": \"overlong \xC0\xAF\"}",
      "{\"text\": \"trailing\"} x",
  };
  for (const std::string& line : broken) {
    CAPTURE(line);
    const std::string file = put_text(dir / "a.jsonl", "{\"text\": \"good\"}\n" + line + "\n");
    CorpusReader reader(text_corpus_of({file}, 0.5));
    CHECK(texts(reader) == std::vector<std::string>{"good"});
    CHECK(reader.bad_lines() == 1);
    const std::string message =
        message_of<FormatError>([&] { texts(text_corpus_of({file}, 0.49)); });
    CHECK_THAT(message, Catch::Contains("1 of the first 2 lines"));
    CHECK_THAT(message, Catch::Contains("data.max_bad_share = 0.49"));
    CHECK_THAT(message, Catch::Contains(file));
  }
}

TEST_CASE("CorpusReader gives a mostly broken corpus up long before its end", "[data]") {
  const test::TempDir dir;
  std::string lines;
  for (int i = 0; i < 10000; ++i) {
    lines += "{\"txt\": \"wrong key\"}\n";
  }
  CorpusReader reader(text_corpus_of({put_text(dir / "a.jsonl", lines)}, 0.5));
  CHECK_THROWS_AS(reader.next(), FormatError);
  CHECK(reader.bad_lines() < 1000);
}

TEST_CASE("CorpusReader refuses a .txt file that is not UTF-8, naming the byte", "[data]") {
  const test::TempDir dir;
  const std::vector<std::pair<std::string, bool>> cases = {{"\x80", false},
                                                           {"\xC1\xBF", false},
                                                           {"\xE0\x9F\xBF", false},
                                                           {"\xED\xA0\x80", false},
                                                           {"\xEF\xBF\xBF", true},
                                                           {"\xF0\x8F\xBF\xBF", false},
                                                           {"\xF4\x8F\xBF\xBF", true},
                                                           {"\xF4\x90\x80\x80", false},
                                                           {"\xF0\x9F\x98", false},
                                                           {"\xC3", false},
                                                           {"\xC3\xA4", true}};
  for (const auto& [bytes, valid] : cases) {
    const CorpusConfig config = text_corpus_of({put_text(dir / "a.txt", "abc" + bytes)});
    CAPTURE(valid, bytes.size(), static_cast<int>(bytes[0]));
    if (valid) {
      CHECK(texts(config) == std::vector<std::string>{"abc" + bytes});
    } else {
      CHECK_THROWS_AS(texts(config), FormatError);
    }
  }
}

TEST_CASE("CorpusReader takes texts as Windows writes them", "[data]") {
  const test::TempDir dir;
  CHECK(texts(text_corpus_of({put_text(dir / "a.txt", "\xEF\xBB\xBFone\r\n\r\n two \r\n")})) ==
        std::vector<std::string>{"one\n\n two \n"});
  CHECK(texts(text_corpus_of(
            {put_text(dir / "a.jsonl",
                      "\xEF\xBB\xBF{\"text\": \"a\\r\\n\"}\r\n \r\n{\"text\": \"b\"}  \r\n")})) ==
        std::vector<std::string>{"a\r\n", "b"});
  // A mark is one at the beginning of a file only.
  CHECK(texts(text_corpus_of({put_text(dir / "b.jsonl", "{\"text\": \"\xEF\xBB\xBF!\"}\n")})) ==
        std::vector<std::string>{"\xEF\xBB\xBF"
                                 "!"});
}

TEST_CASE("CorpusReader names UTF-16 at once, whatever share may be bad", "[data]") {
  const test::TempDir dir;
  const std::string wide("\xFF\xFE{\0}\0\n\0", 8);
  for (const std::string& bytes : {wide, wide.substr(2)}) {
    for (const char* name : {"a.jsonl", "a.txt"}) {
      const std::string file = put_text(dir / name, bytes);
      const std::string message =
          message_of<FormatError>([&] { texts(text_corpus_of({file}, 1.0)); });
      CHECK_THAT(message, Catch::Contains(file + ": expected ") && Catch::Contains("UTF-16"));
    }
  }
  const std::string file = put_text(dir / "b.txt", std::string("text\nthen \0 bytes", 17));
  CorpusReader reader(text_corpus_of({file}, 1.0));
  CHECK(texts(reader).empty());
  CHECK(reader.bad_lines() == 1);
}

TEST_CASE("CorpusReader says at once which file is missing, empty or of another kind", "[data]") {
  const test::TempDir dir;
  const std::string good = put_text(dir / "good.jsonl", "{\"text\": \"x\"}\n");
  const auto open = [&](const std::string& file) {
    CorpusReader reader(text_corpus_of({good, file}));
  };
  const std::string missing = (dir / "missing.jsonl").string();
  CHECK_THAT(message_of<IoError>([&] { open(missing); }), Catch::Contains(missing));
  const std::string empty = put_text(dir / "empty.jsonl", "");
  CHECK_THAT(message_of<FormatError>([&] { open(empty); }),
             Catch::Contains(empty) && Catch::Contains("empty"));
  const std::string other = put_text(dir / "table.parquet", "PAR1");
  CHECK_THAT(message_of<ConfigError>([&] { open(other); }),
             Catch::Contains(other) && Catch::Contains(".jsonl or .txt"));
  std::filesystem::create_directory(dir / "folder.txt");
  CHECK_THROWS_AS(open((dir / "folder.txt").string()), IoError);
  CHECK_THROWS_AS(CorpusReader(text_corpus_of({})), ConfigError);
  const std::string blank = put_text(dir / "blank.jsonl", "\n \n\r\n");
  CHECK_THAT(message_of<FormatError>([&] { texts(text_corpus_of({blank})); }),
             Catch::Contains(blank) && Catch::Contains("no document"));
}

TEST_CASE("CorpusReader digests name each file and follow its bytes", "[data]") {
  const test::TempDir dir;
  const std::string a = put_text(dir / "a.txt", "first");
  const std::string b = put_text(dir / "b.txt", "second");
  const std::vector<std::string> before = CorpusReader(text_corpus_of({a, b})).digests();
  REQUIRE(before.size() == 2);
  CHECK_THAT(before[0], Catch::StartsWith("a.txt xxh3:"));
  CHECK_THAT(before[1], Catch::StartsWith("b.txt xxh3:"));
  put_text(dir / "b.txt", "Second");
  const std::vector<std::string> after = CorpusReader(text_corpus_of({a, b})).digests();
  CHECK(after[0] == before[0]);
  CHECK(after[1] != before[1]);
}

TEST_CASE("is_heldout takes the share it is asked for and depends on the text alone", "[data]") {
  int taken = 0;
  for (int i = 0; i < 20000; ++i) {
    const Document text{"document " + std::to_string(i), {}, i};
    const bool heldout = is_heldout(text, 0.05);
    taken += heldout ? 1 : 0;
    CHECK_FALSE(is_heldout(text, 0.0));
    CHECK(is_heldout(text, 1.0));
    // A larger share keeps what a smaller one held out.
    CHECK((!heldout || is_heldout(text, 0.2)));
  }
  // Binomial, 5 sigma around 1000.
  CHECK(std::abs(taken - 1000) < 155);
}

TEST_CASE("is_heldout compares XXH3 of the text with the fraction of 2^64", "[data]") {
  // XXH3_64("") = 0x2D06800538D394C2 (xxHash's own test vectors), over 2^64: 0.1758804...
  CHECK(is_heldout(Document{}, 0.17588044));
  CHECK_FALSE(is_heldout(Document{}, 0.17588042));
}

}  // namespace
}  // namespace lorsa::data
