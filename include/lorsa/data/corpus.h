#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lorsa/config/fields.h"
#include "lorsa/core/api.h"

namespace lorsa::data {

enum class Packing { kPack, kTruncate };

/// What ids are in a .bin file, little-endian.
enum class TokenDtype { kUInt16, kUInt32, kInt32, kInt64 };

/// The `data:` section of an extraction.
struct CorpusConfig {
  std::vector<std::string> files;  ///< names and patterns
  std::string text_key = "text";
  TokenDtype token_dtype = TokenDtype::kUInt16;
  int64_t context_length = 256;
  Packing packing = Packing::kPack;
  bool prepend_bos = true;
  int64_t max_tokens = 1'000'000;  ///< training and held-out rows together
  double holdout_fraction = 0.05;  ///< of the documents
  double max_bad_share = 0.01;     ///< of the lines
};

/// Adds the keys of `data:` (the section must be open).
LORSA_API void describe(config::Fields& fields, CorpusConfig& config);

struct Document {
  std::string text;
  std::optional<std::vector<int32_t>> ids;  ///< of a pre-tokenised file; `text` is empty then
  int64_t index = 0;                        ///< running number over all files
};

/// Reads documents one after another, file by file in the order of `files`: .jsonl (one object a
/// line), .txt (one document a file), both also packed as .gz or .zst, and token ids in .npy and
/// .bin (a row of a two-dimensional .npy is a document; in a flat file documents end with
/// `separator`).
///
/// A line that is not valid JSON, lacks the key or is not UTF-8 is skipped and counted, the first
/// few are logged; more than max_bad_share of the lines is a FormatError (a .txt file counts as one
/// line). Blank lines are passed over. The constructor throws IoError for a missing file,
/// FormatError for an empty one, ConfigError for another suffix or a pattern that matches nothing;
/// next() throws FormatError for a file of blank lines, damaged packed data and ids out of range.
/// One thread.
class LORSA_API CorpusReader {
 public:
  explicit CorpusReader(const CorpusConfig& config, std::optional<int32_t> separator = {});
  ~CorpusReader();
  /// The next document or nothing at the end.
  [[nodiscard]] std::optional<Document> next();
  /// "corpus.jsonl xxh3:..." for each file.
  [[nodiscard]] std::vector<std::string> digests() const;
  [[nodiscard]] int64_t bad_lines() const;
  /// Bytes of all files as they lie on the disk, and of those that next() has passed.
  [[nodiscard]] int64_t bytes_total() const;
  [[nodiscard]] int64_t bytes_read() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// True if the document belongs to the held-out side: XXH3 of its text (of its ids as int32,
/// little-endian), as a fraction of 2^64, is below `fraction`.
[[nodiscard]] LORSA_API bool is_heldout(const Document& document, double fraction);

/// No more tokens can come out of the corpus, separators between documents included; the largest
/// int64 where that is unknown, of packed files.
[[nodiscard]] LORSA_API int64_t most_tokens_of_corpus(const CorpusConfig& config);

/// One context of tokens.
struct Row {
  std::vector<int32_t> tokens;  ///< context_length ids
  std::vector<uint8_t> scored;  ///< 0 for BOS, EOS, PAD
  int64_t document = 0;         ///< the first document of the row
  bool heldout = false;
};

struct SpecialIds {
  std::optional<int32_t> bos, eos, pad;
  std::vector<int32_t> unscored = {};  ///< beside these three
};

/// How many documents brought special tokens of their own that stand in no row; of the first its
/// running number in the corpus and the token.
struct LeftOut {
  int64_t documents = 0;
  int64_t first = -1;
  int32_t token = -1;
};

/// Packs token lists into rows; held-out and training documents go into rows of their own.
///
/// kPack      documents are joined, EOS (BOS for a model without EOS) between them; one that begins
///            a row has no separator before it. The rest at the end of the corpus is dropped.
/// kTruncate  a document gives one row; short ones are dropped.
/// Both       BOS first in every row if prepend_bos. Documents without tokens are passed over.
///
/// Documents may bring special tokens. Rows are the same with and without them: if prepend_bos, BOS
/// and PAD at a document's beginning are left out, and BOS wherever it would stand behind that of a
/// row; if kPack, separators and PAD at a document's end are. Without prepend_bos a document's own
/// BOS stays, and where it is the separator, it separates. All others stay where they are. Special
/// tokens are never scored.
///
/// Throws     ConfigError if BOS is wanted and there is none.
class LORSA_API Packer {
 public:
  Packer(const CorpusConfig& config, const SpecialIds& special);
  /// Adds one document's ids and appends the rows it completes to `out`.
  void add(const std::vector<int32_t>& ids, int64_t document, bool heldout, std::vector<Row>& out);

  /// EOS (BOS for a model without EOS), if there is one.
  [[nodiscard]] static std::optional<int32_t> separator(const SpecialIds& special) {
    return special.eos ? special.eos : special.bos;
  }

  /// Documents that brought BOS or PAD where a row's BOS or a separator stands before them.
  [[nodiscard]] const LeftOut& own_beginnings() const { return own_beginnings_; }

  /// Documents that brought a separator or PAD at their end.
  [[nodiscard]] const LeftOut& own_ends() const { return own_ends_; }

 private:
  /// The row that begins like an unfinished one: what is kept between documents.
  struct Side {
    std::vector<int32_t> pending;  ///< tokens behind BOS
    int64_t document = 0;          ///< of the first of them
  };

  void put(Side& side,
           std::span<const int32_t> ids,
           int64_t document,
           bool heldout,
           std::vector<Row>& out);
  [[nodiscard]] std::span<const int32_t> without_own_ends(std::span<const int32_t> ids,
                                                          int64_t document);
  [[nodiscard]] Row finish_row(std::span<const int32_t> body, int64_t document, bool heldout) const;
  [[nodiscard]] bool is_special(int32_t id) const;

  CorpusConfig config_;
  SpecialIds special_;
  size_t body_length_;  ///< tokens of a row behind the BOS that is put there
  Side sides_[2];       ///< training, held-out
  LeftOut own_beginnings_;
  LeftOut own_ends_;
};

}  // namespace lorsa::data
