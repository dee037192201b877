#include <algorithm>

#include "lorsa/core/error.h"
#include "lorsa/data/corpus.h"

namespace lorsa::data {
namespace {

void add_document(LeftOut& left_out, int64_t document, int32_t token) {
  if (left_out.documents == 0) {
    left_out.first = document;
    left_out.token = token;
  }
  ++left_out.documents;
}

}  // namespace

Packer::Packer(const CorpusConfig& config, const SpecialIds& special)
    : config_(config),
      special_(special),
      body_length_(static_cast<size_t>(config.context_length - (config.prepend_bos ? 1 : 0))) {
  LORSA_CHECK(!config.prepend_bos || special.bos.has_value(), ConfigError,
              "data.prepend_bos = true, but the tokenizer has no BOS token (set it to false)");
  LORSA_CHECK(config.context_length >= 2, ConfigError,
              "data.context_length = {}: expected at least 2", config.context_length);
}

bool Packer::is_special(int32_t id) const {
  const std::vector<int32_t>& others = special_.unscored;
  return id == special_.bos || id == special_.eos || id == special_.pad ||
         std::find(others.begin(), others.end(), id) != others.end();
}

Row Packer::finish_row(std::span<const int32_t> body, int64_t document, bool heldout) const {
  Row row;
  row.document = document;
  row.heldout = heldout;
  row.tokens.reserve(static_cast<size_t>(config_.context_length));
  if (config_.prepend_bos) {
    row.tokens.push_back(*special_.bos);
  }
  row.tokens.insert(row.tokens.end(), body.begin(), body.end());
  row.scored.reserve(row.tokens.size());
  for (const int32_t id : row.tokens) {
    row.scored.push_back(is_special(id) ? 0 : 1);
  }
  return row;
}

/// `ids` without the special tokens at their ends for which others are put.
std::span<const int32_t> Packer::without_own_ends(std::span<const int32_t> ids, int64_t document) {
  size_t first = 0;
  size_t last = ids.size();
  if (config_.prepend_bos) {
    while (first < last && (ids[first] == special_.bos || ids[first] == special_.pad)) {
      ++first;
    }
  }
  if (config_.packing == Packing::kPack) {
    const std::optional<int32_t> between = separator(special_);
    while (first < last && (ids[last - 1] == between || ids[last - 1] == special_.pad)) {
      --last;
    }
  }
  if (first > 0) {
    add_document(own_beginnings_, document, ids.front());
  }
  if (last < ids.size()) {
    add_document(own_ends_, document, ids.back());
  }
  return ids.subspan(first, last - first);
}

/// Appends to the row that is begun and to those that follow.
void Packer::put(Side& side,
                 std::span<const int32_t> ids,
                 int64_t document,
                 bool heldout,
                 std::vector<Row>& out) {
  while (!ids.empty()) {
    if (side.pending.empty() && config_.prepend_bos && ids.front() == special_.bos) {
      // A row is cut just before the corpus' own BOS: the row's stands for it.
      if (own_beginnings_.documents == 0) {
        add_document(own_beginnings_, document, ids.front());
      }
      ids = ids.subspan(1);
      continue;
    }
    if (side.pending.empty()) {
      side.document = document;
    }
    const auto taken = ids.first(std::min(ids.size(), body_length_ - side.pending.size()));
    side.pending.insert(side.pending.end(), taken.begin(), taken.end());
    ids = ids.subspan(taken.size());
    if (side.pending.size() == body_length_) {
      out.push_back(finish_row(side.pending, side.document, heldout));
      side.pending.clear();
    }
  }
}

void Packer::add(const std::vector<int32_t>& ids,
                 int64_t document,
                 bool heldout,
                 std::vector<Row>& out) {
  const std::span<const int32_t> text = without_own_ends(ids, document);
  if (text.empty()) {
    return;
  }
  if (config_.packing == Packing::kTruncate) {
    if (text.size() >= body_length_) {
      out.push_back(finish_row(text.first(body_length_), document, heldout));
    }
    return;
  }
  Side& side = sides_[heldout ? 1 : 0];
  // A document that begins a row needs nothing before it but the row's own BOS, and one that begins
  // with the separator brings it.
  const std::optional<int32_t> between = separator(special_);
  if (!side.pending.empty() && between.has_value() && text.front() != between) {
    put(side, {&*between, 1}, document, heldout, out);
  }
  put(side, text, document, heldout, out);
}

}  // namespace lorsa::data
