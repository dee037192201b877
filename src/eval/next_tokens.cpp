#include "eval/next_tokens.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lorsa::eval {

NextTokens next_tokens(const at::Tensor& tokens_T,
                       const at::Tensor& counted_T,
                       c10::Device device) {
  const int64_t last = tokens_T.size(0) - 1;
  NextTokens next;
  next.position_n = counted_T.narrow(0, 1, last).to(device).nonzero().squeeze(1);
  next.token_n = tokens_T.narrow(0, 1, last).to(device, at::kLong).index({next.position_n});
  return next;
}

std::vector<NextTokens> NextTokens::pieces(int64_t vocabulary) const {
  constexpr int64_t kLogits = int64_t{1} << 23;
  const int64_t size = std::max<int64_t>(1, kLogits / vocabulary);
  std::vector<NextTokens> pieces;
  for (int64_t first = 0; first < count(); first += size) {
    const int64_t n = std::min(size, count() - first);
    pieces.push_back({position_n.narrow(0, first, n), token_n.narrow(0, first, n)});
  }
  return pieces;
}

at::Tensor log_probabilities(const at::Tensor& logits_nV) {
  return at::log_softmax(logits_nV, -1, at::kDouble);
}

double cross_entropy_sum(const at::Tensor& log_p_nV, const at::Tensor& next_n) {
  return -log_p_nV.gather(1, next_n.unsqueeze(1)).sum(at::kDouble).item<double>();
}

double divergence_sum(const at::Tensor& log_p_nV, const at::Tensor& log_q_nV) {
  return (log_p_nV.exp() * (log_p_nV - log_q_nV)).sum(at::kDouble).item<double>();
}

}  // namespace lorsa::eval
