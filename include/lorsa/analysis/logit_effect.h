#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/lm/language_model.h"

namespace lorsa::analysis {

struct TokenEffect {
  int32_t token = 0;
  float value = 0.0F;
};

/// The tokens that a direction written to the residual stream raises and lowers most.
struct LogitEffect {
  std::vector<TokenEffect> top;     ///< descending value
  std::vector<TokenEffect> bottom;  ///< ascending value
};

/// Direct logit effect of residual directions d [n, D]: the `count` largest and smallest entries of
/// (d * final norm gain) W_U, one result a direction. The norm's own scale is left out, so values
/// compare within a direction. Memory n * V * 4 bytes.
[[nodiscard]] LORSA_API std::vector<LogitEffect> logit_effects(const lm::LanguageModel& model,
                                                               const at::Tensor& directions_nD,
                                                               int64_t count);

}  // namespace lorsa::analysis
