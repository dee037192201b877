#include "lorsa/eval/probes.h"

#include <ATen/ATen.h>

#include <optional>
#include <unordered_set>
#include <vector>

#include "lorsa/core/error.h"
#include "lorsa/core/seed.h"

namespace lorsa::eval {
namespace {

/// `count` different members of `ids`; `state` counts the numbers drawn so far.
std::vector<int32_t> draw_different(const std::vector<int32_t>& ids,
                                    int64_t count,
                                    uint64_t seed,
                                    uint64_t& state) {
  std::vector<int32_t> drawn;
  std::unordered_set<int32_t> taken;
  while (static_cast<int64_t>(drawn.size()) < count) {
    const int32_t id = ids[mix64(seed + state++) % ids.size()];
    if (taken.insert(id).second) {
      drawn.push_back(id);
    }
  }
  return drawn;
}

}  // namespace

ProbeRows repeated_random_tokens(const lm::Tokenizer& tokenizer, const RepeatOptions& options) {
  const std::vector<int32_t> ids = tokenizer.ordinary_ids();
  LORSA_CHECK(options.num_rows > 0 && options.period > 1 &&
                  options.period <= static_cast<int64_t>(ids.size()),
              ConfigError,
              "repeated tokens: expected rows and copies of 2 to {} tokens (the vocabulary), found "
              "{} rows and copies of {}",
              ids.size(), options.num_rows, options.period);
  const std::optional<int32_t> bos = options.bos ? tokenizer.bos_id() : std::nullopt;
  const int64_t first = bos ? 1 : 0;
  const int64_t L = options.period;
  ProbeRows rows;
  rows.tokens_BT = at::empty({options.num_rows, first + 2 * L}, at::kInt);
  if (bos) {
    rows.tokens_BT.select(1, 0).fill_(*bos);
  }
  const uint64_t seed = stream_seed(options.seed, "repeated tokens");
  uint64_t state = 0;
  for (int64_t b = 0; b < options.num_rows; ++b) {
    const at::Tensor copy_L = at::tensor(draw_different(ids, L, seed, state), at::kInt);
    rows.tokens_BT[b].narrow(0, first, L).copy_(copy_L);
    rows.tokens_BT[b].narrow(0, first + L, L).copy_(copy_L);
  }
  rows.counted_BT = at::zeros_like(rows.tokens_BT, at::kBool);
  rows.counted_BT.narrow(1, first + L + 1, L - 1).fill_(true);
  rows.edited_BT = at::ones_like(rows.counted_BT);
  rows.edited_BT.narrow(1, 0, first).fill_(false);
  return rows;
}

ProbeRows scored_rows(const at::Tensor& tokens_BT, const at::Tensor& scored_BT) {
  return {tokens_BT, scored_BT, scored_BT};
}

}  // namespace lorsa::eval
