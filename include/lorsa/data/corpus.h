#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lorsa/config/fields.h"

namespace lorsa::data {

enum class Packing { kPack, kTruncate };

/// The `data:` section of an extraction.
struct CorpusConfig {
  std::vector<std::string> files;
  std::string text_key = "text";
  int64_t context_length = 256;
  Packing packing = Packing::kPack;
  bool prepend_bos = true;
  int64_t max_tokens = 1'000'000;
  double holdout_fraction = 0.05;
  double max_bad_share = 0.01;
};

/// Adds the keys of `data:` (the section must be open).
void describe(config::Fields& fields, CorpusConfig& config);

struct Document {
  std::string text;
  int64_t index = 0;  ///< running number over all files
};

/// Reads documents one after another from .jsonl (one object a line) and .txt (one document a
/// file), in the order of `files`.
///
/// A line that is not valid JSON, lacks the key or is not UTF-8 is skipped, counted and named; more
/// than max_bad_share of the lines is a FormatError. A missing or empty file is an IoError /
/// FormatError naming it.
class CorpusReader {
 public:
  explicit CorpusReader(const CorpusConfig& config);
  ~CorpusReader();
  /// The next document or nothing at the end.
  [[nodiscard]] std::optional<Document> next();
  /// "corpus.jsonl xxh3:..." for each file.
  [[nodiscard]] std::vector<std::string> digests() const;
  [[nodiscard]] int64_t bad_lines() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// True if the document belongs to the held-out side: XXH3 of its text, as a fraction of 2^64, is
/// below `fraction`.
[[nodiscard]] bool is_heldout(const std::string& text, double fraction);

/// One context of tokens.
struct Row {
  std::vector<int32_t> tokens;  ///< context_length ids
  std::vector<uint8_t> scored;  ///< 0 for BOS, EOS, PAD
  int64_t document = 0;         ///< the first document of the row
  bool heldout = false;
};

struct SpecialIds {
  std::optional<int32_t> bos, eos, pad;
};

/// Packs token lists into rows; held-out and training documents go into rows of their own. With
/// kPack documents are joined (EOS, or BOS where the model has one token for both, between them),
/// BOS first in every row; the rest at the end is dropped. With kTruncate a document gives one row,
/// short ones are dropped.
class Packer {
 public:
  Packer(const CorpusConfig& config, const SpecialIds& special);
  /// Adds one document's ids (without special tokens) and appends the rows it completes to `out`.
  void add(const std::vector<int32_t>& ids, int64_t document, bool heldout, std::vector<Row>& out);

 private:
  CorpusConfig config_;
  SpecialIds special_;

  struct Side {
    std::vector<int32_t> pending;
    std::vector<int64_t> documents;
  };

  Side sides_[2];
};

}  // namespace lorsa::data
