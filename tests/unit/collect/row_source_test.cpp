#include "collect/row_source.h"

#include <fstream>

#include "fixtures.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/io/files.h"
#include "lorsa/io/safetensors.h"
#include "support/test.h"

namespace lorsa::collect {
namespace {

RowSourceOptions options_of(int64_t max_rows, int64_t skip_rows, int64_t num_tokenizers) {
  RowSourceOptions options;
  options.max_rows = max_rows;
  options.wanted = [skip_rows](int64_t row) { return row >= skip_rows; };
  options.batch_rows = 4;
  options.vocabulary_size = 1000;
  options.num_tokenizers = num_tokenizers;
  return options;
}

/// All rows of a source; checks the numbers of the batches.
std::vector<data::Row> rows_of(RowSource& source, int64_t first_row) {
  std::vector<data::Row> rows;
  for (RowBatch batch = source.next(); !batch.rows.empty(); batch = source.next()) {
    CHECK(batch.first_row == first_row + static_cast<int64_t>(rows.size()));
    CHECK(batch.first_row % 4 == 0);
    rows.insert(rows.end(), batch.rows.begin(), batch.rows.end());
  }
  return rows;
}

std::vector<std::vector<int32_t>> golden_tokens() {
  const at::Tensor tokens =
      io::SafetensorsReader(test::golden("collect/rows.safetensors")).read("tokens");
  std::vector<std::vector<int32_t>> rows;
  for (int64_t row = 0; row < tokens.size(0); ++row) {
    const auto* first = tokens.data_ptr<int32_t>() + row * tokens.size(1);
    rows.emplace_back(first, first + tokens.size(1));
  }
  return rows;
}

TEST_CASE("RowSource gives the same rows with any number of threads", "[collect]") {
  const lm::Tokenizer tokenizer(test::golden("collect/model"));
  const data::CorpusConfig corpus = golden_config("unused").data;
  const auto expected = golden_tokens();
  for (const int64_t threads : {1, 5}) {
    RowSource source(corpus, tokenizer, options_of(1000, 0, threads));
    const std::vector<data::Row> rows = rows_of(source, 0);
    REQUIRE(rows.size() == expected.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      CHECK(rows[i].tokens == expected[i]);
    }
    CHECK(source.rows_per_byte() * static_cast<double>(source.corpus_bytes()) ==
          Approx(static_cast<double>(rows.size())));
  }
}

TEST_CASE("RowSource skips the rows that are there and ends at max_rows", "[collect]") {
  const lm::Tokenizer tokenizer(test::golden("collect/model"));
  const data::CorpusConfig corpus = golden_config("unused").data;
  const auto expected = golden_tokens();
  RowSource source(corpus, tokenizer, options_of(22, 12, 1));
  const std::vector<data::Row> rows = rows_of(source, 12);
  REQUIRE(rows.size() == 10);
  for (size_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i].tokens == expected[i + 12]);
  }
  RowSource none(corpus, tokenizer, options_of(12, 12, 1));
  const RowBatch end = none.next();
  CHECK(end.rows.empty());
  CHECK(end.first_row == 12);
}

TEST_CASE("RowSource hands out the batches that are wanted and then the number of all rows",
          "[collect]") {
  const lm::Tokenizer tokenizer(test::golden("collect/model"));
  const data::CorpusConfig corpus = golden_config("unused").data;
  const auto expected = golden_tokens();
  RowSourceOptions options = options_of(1000, 0, 2);
  options.wanted = [](int64_t row) { return row / 8 % 3 == 1; };
  RowSource source(corpus, tokenizer, options);
  std::vector<int64_t> firsts;
  RowBatch batch = source.next();
  for (; !batch.rows.empty(); batch = source.next()) {
    firsts.push_back(batch.first_row);
    CHECK(batch.rows.front().tokens == expected[static_cast<size_t>(batch.first_row)]);
  }
  CHECK(firsts == std::vector<int64_t>{8, 12, 32, 36, 56, 60});
  CHECK(batch.first_row == kGoldenRows);
}

TEST_CASE("RowSource can be left in the middle", "[collect]") {
  const lm::Tokenizer tokenizer(test::golden("collect/model"));
  data::CorpusConfig corpus = golden_config("unused").data;
  corpus.context_length = 2;  // many rows: the queue is full and its thread waits
  RowSource source(corpus, tokenizer, options_of(100000, 0, 2));
  CHECK(source.next().rows.size() == 4);
}

TEST_CASE("RowSource hands errors of its threads to the consumer", "[collect]") {
  const lm::Tokenizer tokenizer(test::golden("collect/model"));
  const data::CorpusConfig corpus = golden_config("unused").data;
  RowSourceOptions options = options_of(1000, 0, 2);
  options.vocabulary_size = 200;
  RowSource source(corpus, tokenizer, options);
  const auto drain = [&] {
    while (!source.next().rows.empty()) {
    }
  };
  CHECK_THAT(message_of<FormatError>(drain), Catch::Contains("vocabulary has 200"));
}

TEST_CASE("RowSource gives one BOS to documents that bring their own, in text and as ids",
          "[collect]") {
  // Ids 3 and 4 are <|bos|> and <|eos|>, 6 + b is byte b.
  const lm::Tokenizer tokenizer(test::golden("special_tokens/base"));
  const test::TempDir dir;
  std::ofstream plain(dir / "plain.jsonl");
  std::ofstream own(dir / "own.jsonl");
  std::ofstream ids(dir / "ids.bin", std::ios::binary);
  const auto put = [&](uint16_t id) { ids.write(reinterpret_cast<const char*>(&id), sizeof(id)); };
  for (int i = 0; i < 30; ++i) {
    const std::string text = "document " + std::to_string(i);
    plain << "{\"text\": \"" << text << "\"}\n";
    own << "{\"text\": \"<|bos|>" << text << "<|eos|>\"}\n";
    put(3);
    for (const char c : text) {
      put(static_cast<uint16_t>(6 + c));
    }
    put(4);
  }
  for (std::ofstream* file : {&plain, &own, &ids}) {
    file->close();
  }
  data::CorpusConfig corpus;
  corpus.context_length = 16;
  corpus.holdout_fraction = 0.0;
  const auto rows_of_file = [&](const char* name, const char* log) {
    corpus.files = {(dir / name).string()};
    const LogFile file(dir / log);
    RowSource source(corpus, tokenizer, options_of(1000, 0, 1));
    return rows_of(source, 0);
  };
  const std::vector<data::Row> expected = rows_of_file("plain.jsonl", "plain.txt");
  REQUIRE(expected.size() > 15);
  CHECK(expected[0].tokens == std::vector<int32_t>{3, 106, 117, 105, 123, 115, 107, 116, 122, 38,
                                                   54, 4, 106, 117, 105, 123});
  CHECK(io::read_file(dir / "plain.txt").empty());
  for (const char* name : {"own.jsonl", "ids.bin"}) {
    CAPTURE(name);
    const std::string log = std::string(name) + ".txt";
    const std::vector<data::Row> rows = rows_of_file(name, log.c_str());
    REQUIRE(rows.size() == expected.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      CHECK(rows[i].tokens == expected[i].tokens);
      CHECK(rows[i].scored == expected[i].scored);
    }
    const std::string said = io::read_file(dir / log);
    CHECK_THAT(said, Catch::Contains("document 0 brings <|bos|> (id 3) itself at its beginning"));
    CHECK(said.find("beginning") == said.rfind("beginning"));
  }
  CHECK_THAT(io::read_file(dir / "own.jsonl.txt"),
             Catch::Contains("document 0 brings <|eos|> (id 4) itself at its end"));
}

}  // namespace
}  // namespace lorsa::collect
