#include <numeric>

#include "lorsa/core/error.h"
#include "lorsa/data/corpus.h"
#include "support/test.h"

namespace lorsa::data {
namespace {

constexpr int32_t kBos = 1;
constexpr int32_t kEos = 2;
constexpr int32_t kPad = 3;

CorpusConfig config_of(int64_t context_length, Packing packing, bool prepend_bos) {
  CorpusConfig config;
  config.context_length = context_length;
  config.packing = packing;
  config.prepend_bos = prepend_bos;
  return config;
}

std::vector<int32_t> ids(int32_t first, size_t count) {
  std::vector<int32_t> list(count);
  std::iota(list.begin(), list.end(), first);
  return list;
}

using Tokens = std::vector<int32_t>;
using Flags = std::vector<uint8_t>;

TEST_CASE("Packer joins documents with EOS and begins every row with BOS", "[data]") {
  Packer packer(config_of(5, Packing::kPack, true), {kBos, kEos, kPad});
  std::vector<Row> rows;
  packer.add(ids(10, 3), 0, false, rows);
  CHECK(rows.empty());
  packer.add(ids(20, 6), 1, false, rows);
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].tokens == Tokens{kBos, 10, 11, 12, kEos});
  CHECK(rows[0].scored == Flags{0, 1, 1, 1, 0});
  CHECK(rows[0].document == 0);
  CHECK(rows[1].tokens == Tokens{kBos, 20, 21, 22, 23});
  CHECK(rows[1].document == 1);
  packer.add(ids(30, 2), 2, false, rows);
  REQUIRE(rows.size() == 3);
  CHECK(rows[2].tokens == Tokens{kBos, 24, 25, kEos, 30});
  CHECK(rows[2].scored == Flags{0, 1, 1, 0, 1});
  CHECK(rows[2].document == 1);
}

TEST_CASE("Packer puts no separator before a document that begins a row", "[data]") {
  Packer packer(config_of(4, Packing::kPack, true), {kBos, kEos, kPad});
  std::vector<Row> rows;
  packer.add(ids(10, 3), 0, false, rows);
  packer.add(ids(20, 3), 1, false, rows);
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].tokens == Tokens{kBos, 10, 11, 12});
  CHECK(rows[1].tokens == Tokens{kBos, 20, 21, 22});
}

TEST_CASE("Packer separates by BOS where the model has no EOS and by nothing without both",
          "[data]") {
  std::vector<Row> rows;
  Packer with_bos(config_of(4, Packing::kPack, false), {kBos, {}, {}});
  with_bos.add(ids(10, 1), 0, false, rows);
  with_bos.add(ids(20, 2), 1, false, rows);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].tokens == Tokens{10, kBos, 20, 21});
  CHECK(rows[0].scored == Flags{1, 0, 1, 1});
  rows.clear();
  Packer without(config_of(4, Packing::kPack, false), {{}, {}, {}});
  without.add(ids(10, 1), 0, false, rows);
  without.add(ids(20, 3), 1, false, rows);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].tokens == Tokens{10, 20, 21, 22});
}

TEST_CASE("Packer keeps held-out and training documents in rows of their own", "[data]") {
  Packer packer(config_of(4, Packing::kPack, true), {kBos, kEos, kPad});
  std::vector<Row> rows;
  packer.add(ids(100, 2), 0, false, rows);
  packer.add(ids(200, 2), 1, true, rows);
  packer.add(ids(300, 4), 2, false, rows);
  packer.add(ids(400, 4), 3, true, rows);
  REQUIRE(rows.size() == 4);
  for (const Row& row : rows) {
    for (const int32_t id : row.tokens) {
      if (id >= 100) {
        CHECK(((id / 100) % 2 == 0) == row.heldout);
      }
    }
  }
  CHECK(rows[0].tokens == Tokens{kBos, 100, 101, kEos});
  CHECK(rows[1].tokens == Tokens{kBos, 300, 301, 302});
  CHECK(rows[2].tokens == Tokens{kBos, 200, 201, kEos});
  CHECK(rows[2].heldout);
  CHECK(rows[3].document == 3);
}

TEST_CASE("Packer cuts one long document into consecutive rows without loss", "[data]") {
  Packer packer(config_of(8, Packing::kPack, true), {kBos, kEos, kPad});
  std::vector<Row> rows;
  packer.add(ids(1000, 7 * 50 + 3), 4, false, rows);
  REQUIRE(rows.size() == 50);
  Tokens joined;
  for (const Row& row : rows) {
    CHECK(row.tokens.size() == 8);
    CHECK(row.document == 4);
    joined.insert(joined.end(), row.tokens.begin() + 1, row.tokens.end());
  }
  CHECK(joined == ids(1000, 7 * 50));
}

TEST_CASE("Packer makes one row of a document when it truncates, and drops short ones", "[data]") {
  Packer packer(config_of(4, Packing::kTruncate, true), {kBos, kEos, kPad});
  std::vector<Row> rows;
  packer.add(ids(10, 2), 0, false, rows);
  packer.add(ids(20, 3), 1, true, rows);
  packer.add(ids(30, 9), 2, false, rows);
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].tokens == Tokens{kBos, 20, 21, 22});
  CHECK(rows[0].heldout);
  CHECK(rows[0].document == 1);
  CHECK(rows[1].tokens == Tokens{kBos, 30, 31, 32});
  CHECK_FALSE(rows[1].heldout);
}

TEST_CASE("Packer passes over documents without tokens and leaves special ids unscored", "[data]") {
  Packer packer(config_of(5, Packing::kPack, false), {kBos, kEos, kPad});
  std::vector<Row> rows;
  packer.add(ids(10, 1), 0, false, rows);
  packer.add({}, 1, false, rows);
  packer.add({20, kPad, 21}, 2, false, rows);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].tokens == Tokens{10, kEos, 20, kPad, 21});
  CHECK(rows[0].scored == Flags{1, 0, 1, 0, 1});
}

/// Rows of `documents` with the special tokens BOS, EOS and PAD.
std::vector<Row> rows_of(const CorpusConfig& config, const std::vector<Tokens>& documents) {
  Packer packer(config, {kBos, kEos, kPad});
  std::vector<Row> rows;
  for (size_t i = 0; i < documents.size(); ++i) {
    packer.add(documents[i], static_cast<int64_t>(i), i % 3 == 1, rows);
  }
  return rows;
}

TEST_CASE("Packer makes the same rows of documents with and without tokens of their own",
          "[data]") {
  std::vector<Tokens> plain;
  for (int32_t i = 0; i < 40; ++i) {
    plain.push_back(ids(100 * (i + 1), static_cast<size_t>(3 + i * 7 % 11)));
  }
  // What exports of chats and padded arrays bring, one kind after the other.
  const std::vector<std::pair<Tokens, Tokens>> ends = {{{kBos}, {}},
                                                       {{kBos}, {kEos}},
                                                       {{}, {kEos}},
                                                       {{kBos, kBos}, {kEos, kEos}},
                                                       {{kPad, kPad, kBos}, {kEos, kPad, kPad}}};
  for (const int64_t length : {4, 5, 9}) {
    const CorpusConfig config = config_of(length, Packing::kPack, true);
    const std::vector<Row> expected = rows_of(config, plain);
    REQUIRE(expected.size() > 10);
    for (const auto& [begin, end] : ends) {
      std::vector<Tokens> documents = plain;
      for (Tokens& document : documents) {
        document.insert(document.begin(), begin.begin(), begin.end());
        document.insert(document.end(), end.begin(), end.end());
      }
      documents.push_back(begin);  // no text at all
      const std::vector<Row> rows = rows_of(config, documents);
      REQUIRE(rows.size() == expected.size());
      for (size_t i = 0; i < rows.size(); ++i) {
        REQUIRE(rows[i].tokens == expected[i].tokens);
        REQUIRE(rows[i].scored == expected[i].scored);
        REQUIRE(rows[i].document == expected[i].document);
        REQUIRE(rows[i].heldout == expected[i].heldout);
      }
    }
  }
}

TEST_CASE("Packer puts one BOS before a truncated document that brings its own", "[data]") {
  const CorpusConfig config = config_of(4, Packing::kTruncate, true);
  const std::vector<Row> rows = rows_of(
      config, {{kBos, 10, 11, 12}, {kBos, 20, 21}, {kBos, kBos, 30, 31, kEos, 33}, {40, 41, 42}});
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].tokens == Tokens{kBos, 10, 11, 12});
  CHECK(rows[0].scored == Flags{0, 1, 1, 1});
  CHECK(rows[1].tokens == Tokens{kBos, 30, 31, kEos});  // an end of its own is text, unscored
  CHECK(rows[1].scored == Flags{0, 1, 1, 0});
  CHECK(rows[2].tokens == Tokens{kBos, 40, 41, 42});
}

TEST_CASE("Packer keeps BOS within a document, but no second one at a row's beginning", "[data]") {
  Packer packer(config_of(4, Packing::kPack, true), {kBos, kEos, kPad});
  std::vector<Row> rows;
  CHECK(packer.own_beginnings().documents == 0);
  packer.add({10, 11, 12, kBos, 13, kBos, 14, 15}, 7, false, rows);
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].tokens == Tokens{kBos, 10, 11, 12});
  CHECK(rows[1].tokens == Tokens{kBos, 13, kBos, 14});
  CHECK(rows[1].scored == Flags{0, 1, 0, 1});
  CHECK(packer.own_beginnings().documents == 1);
  CHECK(packer.own_beginnings().first == 7);
  CHECK(packer.own_beginnings().token == kBos);
  CHECK(packer.own_ends().documents == 0);
  packer.add({16, kEos}, 9, false, rows);
  REQUIRE(rows.size() == 3);
  CHECK(rows[2].tokens == Tokens{kBos, 15, kEos, 16});
  CHECK(packer.own_ends().documents == 1);
  CHECK(packer.own_ends().first == 9);
  CHECK(packer.own_ends().token == kEos);
}

TEST_CASE("Packer leaves documents their BOS where it puts none, and doubles no separator",
          "[data]") {
  const std::vector<Row> pack = rows_of(config_of(4, Packing::kPack, false),
                                        {{kBos, 10, kEos}, {}, {20, 21}, {kBos, 30, kEos, kEos}});
  REQUIRE(pack.size() == 2);
  CHECK(pack[0].tokens == Tokens{kBos, 10, kEos, 20});
  CHECK(pack[0].scored == Flags{0, 1, 0, 1});
  CHECK(pack[1].tokens == Tokens{21, kEos, kBos, 30});
  const std::vector<Row> truncated =
      rows_of(config_of(3, Packing::kTruncate, false), {{kBos, 10, 11, 12}, {}, {kBos, 20, kEos}});
  REQUIRE(truncated.size() == 2);
  CHECK(truncated[0].tokens == Tokens{kBos, 10, 11});
  CHECK(truncated[1].tokens == Tokens{kBos, 20, kEos});
  // BOS is the separator of a model without EOS: the documents' own separates.
  Packer only_bos(config_of(4, Packing::kPack, false), {kBos, {}, {}});
  std::vector<Row> rows;
  only_bos.add({kBos, 10}, 0, false, rows);
  only_bos.add({kBos, 20, 21}, 1, false, rows);
  only_bos.add({30, 31}, 2, false, rows);
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].tokens == Tokens{kBos, 10, kBos, 20});
  CHECK(rows[1].tokens == Tokens{21, kBos, 30, 31});
}

TEST_CASE("Packer leaves further ends of a text unscored", "[data]") {
  Packer packer(config_of(4, Packing::kTruncate, true), {kBos, kEos, {}, {kBos, kEos, 90}});
  std::vector<Row> rows;
  packer.add({10, 90, kPad}, 0, false, rows);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].scored == Flags{0, 1, 0, 1});
}

TEST_CASE("Packer refuses prepend_bos without a BOS token", "[data]") {
  CHECK_THROWS_AS(Packer(config_of(4, Packing::kPack, true), {{}, kEos, {}}), ConfigError);
  CHECK_NOTHROW(Packer(config_of(4, Packing::kPack, false), {{}, kEos, {}}));
}

}  // namespace
}  // namespace lorsa::data
