#include "lorsa/analysis/logit_effect.h"

#include <ATen/ops/topk.h>

#include <algorithm>
#include <tuple>

namespace lorsa::analysis {
namespace {

std::vector<std::vector<TokenEffect>> extremes(const at::Tensor& logits_nV,
                                               int64_t count,
                                               bool largest) {
  const auto [value, index] = at::topk(logits_nV, count, /*dim=*/1, largest, /*sorted=*/true);
  const at::Tensor values = value.to(at::kCPU).contiguous();
  const at::Tensor tokens = index.to(at::kCPU).contiguous();
  const float* v = values.const_data_ptr<float>();
  const int64_t* t = tokens.const_data_ptr<int64_t>();
  std::vector<std::vector<TokenEffect>> out(static_cast<size_t>(logits_nV.size(0)));
  for (auto& effects : out) {
    for (int64_t i = 0; i < count; ++i) {
      effects.push_back({static_cast<int32_t>(*t++), *v++});
    }
  }
  return out;
}

}  // namespace

std::vector<LogitEffect> logit_effects(const lm::LanguageModel& model,
                                       const at::Tensor& directions_nD,
                                       int64_t count) {
  const at::Tensor logits_nV = model.direct_logits(directions_nD);
  const int64_t kept = std::min(count, logits_nV.size(1));
  auto top = extremes(logits_nV, kept, true);
  auto bottom = extremes(logits_nV, kept, false);
  std::vector<LogitEffect> out(top.size());
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = {std::move(top[i]), std::move(bottom[i])};
  }
  return out;
}

}  // namespace lorsa::analysis
