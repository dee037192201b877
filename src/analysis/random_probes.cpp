#include <algorithm>

#include "analysis/probe_rows.h"
#include "analysis/probes.h"
#include "lorsa/core/error.h"

namespace lorsa::analysis {
namespace {

// Tokens of a copy: long enough that a head that looks a fixed distance back does not meet the
// answer in other rows, whose copies differ in length.
constexpr int64_t kShortestCopy = 40;
constexpr int64_t kCopyLengths = 24;

/// `count` different tokens.
std::vector<int32_t> draw_tokens(const std::vector<int32_t>& ordinary, int64_t count, Draw& draw) {
  std::vector<int32_t> tokens;
  while (static_cast<int64_t>(tokens.size()) < count) {
    const int32_t token = draw.from(ordinary);
    if (std::find(tokens.begin(), tokens.end(), token) == tokens.end()) {
      tokens.push_back(token);
    }
  }
  return tokens;
}

/// BOS, if there is one, and both copies.
std::vector<int32_t> joined(const lm::Tokenizer& tokenizer,
                            const std::vector<int32_t>& first,
                            const std::vector<int32_t>& second) {
  std::vector<int32_t> row;
  if (const auto bos = tokenizer.bos_id()) {
    row.push_back(*bos);
  }
  row.insert(row.end(), first.begin(), first.end());
  row.insert(row.end(), second.begin(), second.end());
  return row;
}

}  // namespace

std::vector<Probe> random_token_probes(const lm::Tokenizer& tokenizer,
                                       const ProbeOptions& options) {
  const std::vector<int32_t> ordinary = tokenizer.ordinary_ids();
  constexpr size_t kFewest = kShortestCopy + kCopyLengths;
  LORSA_CHECK(ordinary.size() >= kFewest, ConfigError,
              "the tokenizer has {} tokens that stand for text; probes of random tokens need {}",
              ordinary.size(), kFewest);
  const int32_t filler = filler_token(tokenizer);
  const int32_t first = tokenizer.bos_id() ? 1 : 0;
  Draw draw(options.seed, "random token probes");
  ProbeBuilder induction("induction", "what followed the token's first occurrence", filler);
  ProbeBuilder duplicate("duplicate_token", "the token's first occurrence", filler);
  ProbeBuilder previous("previous_token", "the token before", filler);
  ProbeBuilder sink("attention_sink", "the first token of the row", filler);
  for (int64_t r = 0; r < options.num_rows; ++r) {
    const int64_t length = kShortestCopy + draw.below(kCopyLengths);
    const auto n = static_cast<int32_t>(length);
    const std::vector<int32_t> tokens = draw_tokens(ordinary, length, draw);
    induction.start_row(joined(tokenizer, tokens, tokens));
    for (int32_t i = 0; i + 1 < n; ++i) {
      induction.ask(first + n + i, {first + i + 1});
    }
    std::vector<int32_t> order(tokens.size());
    for (int32_t i = 0; i < n; ++i) {
      order[static_cast<size_t>(i)] = i;
    }
    draw.shuffle(order);
    std::vector<int32_t> shuffled;
    std::transform(order.begin(), order.end(), std::back_inserter(shuffled),
                   [&](int32_t i) { return tokens[static_cast<size_t>(i)]; });
    duplicate.start_row(joined(tokenizer, tokens, shuffled));
    for (int32_t i = 0; i < n; ++i) {
      duplicate.ask(first + n + i, {first + order[static_cast<size_t>(i)]});
    }
    const std::vector<int32_t> once = joined(tokenizer, draw_tokens(ordinary, length, draw), {});
    previous.start_row(once);
    sink.start_row(once);
    // From the third token on: before, the token before is the first one or its neighbour.
    for (int32_t i = 2; i < n; ++i) {
      previous.ask(first + i, {first + i - 1});
      sink.ask(first + i, {0});
    }
  }
  return {induction.build(), duplicate.build(), previous.build(), sink.build()};
}

}  // namespace lorsa::analysis
