#include "analysis/probe_rows.h"

#include <ATen/ops/full.h>

#include <algorithm>

#include "lorsa/core/error.h"
#include "lorsa/core/seed.h"

namespace lorsa::analysis {

Draw::Draw(uint64_t seed, std::string_view stream) : state_(stream_seed(seed, stream)) {}

int64_t Draw::below(int64_t n) {
  state_ = mix64(state_);
  return static_cast<int64_t>(state_ % static_cast<uint64_t>(n));
}

Span ProbeText::append(std::string_view piece) {
  const size_t begin = text_.size();
  text_ += piece;
  return {begin, text_.size()};
}

CutText::CutText(const lm::Tokenizer& tokenizer, const std::string& text) {
  const std::vector<int32_t> ids = tokenizer.encode(text, lm::SpecialTokens::kNone);
  const lm::DecodedText decoded = tokenizer.decode_with_offsets(ids);
  LORSA_CHECK(decoded.bytes == text, FormatError,
              "the tokenizer gives back the probe \"{}\" as \"{}\": its normaliser changes text",
              text, decoded.bytes);
  if (const auto bos = tokenizer.bos_id()) {
    tokens_.push_back(*bos);
    first_ = 1;
  }
  tokens_.insert(tokens_.end(), ids.begin(), ids.end());
  begins_ = decoded.offsets;
}

int32_t CutText::token_at(size_t character) const {
  const auto after = std::upper_bound(begins_.begin(), begins_.end(), character);
  return first_ + static_cast<int32_t>(after - begins_.begin()) - 1;
}

bool CutText::is_cut_at(size_t character) const {
  return std::binary_search(begins_.begin(), begins_.end(), character);
}

void CutText::add_tokens(Span span, std::vector<int32_t>& positions) const {
  const int32_t last = token_at(span.end - 1);
  for (int32_t position = token_at(span.begin); position <= last; ++position) {
    positions.push_back(position);
  }
}

ProbeBuilder::ProbeBuilder(std::string family, std::string answer, int32_t filler)
    : filler_(filler) {
  probe_.family = std::move(family);
  probe_.answer = std::move(answer);
}

void ProbeBuilder::start_row(std::vector<int32_t> tokens) {
  rows_.push_back(std::move(tokens));
}

void ProbeBuilder::ask(int32_t position, std::vector<int32_t> sources) {
  std::sort(sources.begin(), sources.end());
  sources.erase(std::unique(sources.begin(), sources.end()), sources.end());
  sources.erase(std::upper_bound(sources.begin(), sources.end(), position), sources.end());
  if (!sources.empty()) {
    probe_.queries.push_back(
        {static_cast<int32_t>(rows_.size()) - 1, position, std::move(sources)});
  }
}

Probe ProbeBuilder::build() const {
  Probe probe = probe_;
  size_t longest = 1;
  for (const std::vector<int32_t>& row : rows_) {
    longest = std::max(longest, row.size());
  }
  probe.tokens_BT = at::full({static_cast<int64_t>(rows_.size()), static_cast<int64_t>(longest)},
                             filler_, at::kInt);
  int32_t* out = probe.tokens_BT.mutable_data_ptr<int32_t>();
  for (const std::vector<int32_t>& row : rows_) {
    std::copy(row.begin(), row.end(), out);
    out += longest;
  }
  return probe;
}

int32_t filler_token(const lm::Tokenizer& tokenizer) {
  return tokenizer.bos_id().value_or(0);
}

}  // namespace lorsa::analysis
