#include <algorithm>

#include "lorsa/core/error.h"
#include "lorsa/data/corpus.h"

namespace lorsa::data {
namespace {

bool is_special(int32_t id, const SpecialIds& special) {
  return id == special.bos || id == special.eos || id == special.pad;
}

}  // namespace

Packer::Packer(const CorpusConfig& config, const SpecialIds& special)
    : config_(config), special_(special) {
  LORSA_CHECK(!config.prepend_bos || special.bos.has_value(),
              ConfigError,
              "data.prepend_bos = true, but the tokenizer has no BOS token (set it to false)");
  LORSA_CHECK(config.context_length >= 2,
              ConfigError,
              "data.context_length = ",
              config.context_length,
              ": expected at least 2");
}

Row Packer::finish_row(const std::vector<int32_t>& body, int64_t document, bool heldout) const {
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
    row.scored.push_back(is_special(id, special_) ? 0 : 1);
  }
  return row;
}

void Packer::add(const std::vector<int32_t>& ids,
                 int64_t document,
                 bool heldout,
                 std::vector<Row>& out) {
  if (ids.empty()) {
    return;
  }
  const auto body_length =
      static_cast<size_t>(config_.context_length - (config_.prepend_bos ? 1 : 0));
  if (config_.packing == Packing::kTruncate) {
    if (ids.size() >= body_length) {
      const auto end = ids.begin() + static_cast<std::ptrdiff_t>(body_length);
      out.push_back(finish_row({ids.begin(), end}, document, heldout));
    }
    return;
  }

  Side& side = sides_[heldout ? 1 : 0];
  const auto put = [&](const int32_t* first, size_t count) {
    while (count > 0) {
      if (side.pending.empty()) {
        side.document = document;
      }
      const size_t taken = std::min(count, body_length - side.pending.size());
      side.pending.insert(side.pending.end(), first, first + taken);
      first += taken;
      count -= taken;
      if (side.pending.size() == body_length) {
        out.push_back(finish_row(side.pending, side.document, heldout));
        side.pending.clear();
      }
    }
  };
  // A document that begins a row needs nothing before it but the row's own BOS.
  const std::optional<int32_t> separator = special_.eos.has_value() ? special_.eos : special_.bos;
  if (!side.pending.empty() && separator.has_value()) {
    put(&*separator, 1);
  }
  put(ids.data(), ids.size());
}

}  // namespace lorsa::data
