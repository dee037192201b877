// Pure functions of tokens seen: nothing to save.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "lorsa/train/config.h"

namespace lorsa::train {

double learning_rate_at(const RunConfig::Train& train, double tokens) {
  const auto total = static_cast<double>(train.tokens);
  double factor = 1.0;
  if (train.warmup_tokens > 0) {
    factor = std::min(factor, tokens / static_cast<double>(train.warmup_tokens));
  }
  const double decay_tokens = train.decay_fraction * total;
  if (decay_tokens > 0.0) {
    factor = std::min(factor, (total - tokens) / decay_tokens);
  }
  return train.learning_rate * std::max(factor, 0.0);
}

int64_t top_k_at(const RunConfig::Train& train, int64_t top_k, int64_t tokens) {
  const int64_t start = train.initial_k > 0 ? train.initial_k : top_k;
  if (tokens >= train.k_anneal_tokens || start == top_k) {
    return top_k;
  }
  const double share = static_cast<double>(tokens) / static_cast<double>(train.k_anneal_tokens);
  const auto first = static_cast<double>(start);
  const auto last = static_cast<double>(top_k);
  double k = last;
  switch (train.k_anneal) {
    case Anneal::kLinear:
      k = first + (last - first) * share;
      break;
    case Anneal::kExponential:
      k = first * std::pow(last / first, share);
      break;
    case Anneal::kCosine:
      k = last + (first - last) * 0.5 * (1.0 + std::cos(std::numbers::pi * share));
      break;
  }
  return std::lround(k);
}

double penalty_at(const RunConfig::Train& train, int64_t tokens) {
  if (tokens >= train.penalty_warmup_tokens) {
    return train.penalty_coefficient;
  }
  return train.penalty_coefficient * static_cast<double>(tokens) /
         static_cast<double>(train.penalty_warmup_tokens);
}

}  // namespace lorsa::train
