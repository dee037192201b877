#include <ATen/core/Tensor.h>

#include "lorsa/core/error.h"
#include "lorsa/model/lorsa.h"

namespace lorsa::model {

std::vector<std::pair<std::string, at::Tensor*>> LorsaWeights::named() {
  std::vector<std::pair<std::string, at::Tensor*>> all = {{"W_Q", &W_Q},
                                                          {"W_K", &W_K},
                                                          {"b_Q", &b_Q},
                                                          {"b_K", &b_K},
                                                          {"W_V", &W_V},
                                                          {"b_V", &b_V},
                                                          {"W_O", &W_O},
                                                          {"b_D", &b_D},
                                                          {"q_norm", &q_norm},
                                                          {"k_norm", &k_norm}};
  std::erase_if(all, [](const auto& entry) { return !entry.second->defined(); });
  return all;
}

std::vector<std::pair<std::string, const at::Tensor*>> LorsaWeights::named() const {
  std::vector<std::pair<std::string, const at::Tensor*>> all;
  for (const auto& [name, tensor] : const_cast<LorsaWeights*>(this)->named()) {
    all.emplace_back(name, tensor);
  }
  return all;
}

std::vector<int64_t> weight_shape(const LorsaShape& shape, const std::string& name) {
  const int64_t D = shape.d_model;
  const int64_t H = shape.num_ov_heads;
  const int64_t S = shape.num_qk_heads;
  const int64_t E = shape.d_qk;
  if (name == "W_Q" || name == "W_K") {
    return {S * E, D};
  }
  if (name == "W_V" || name == "W_O") {
    return {H, D};
  }
  if (name == "b_V") {
    return {H};
  }
  if (name == "b_D") {
    return {D};
  }
  LORSA_CHECK(name == "b_Q" || name == "b_K" || name == "q_norm" || name == "k_norm",
              ShapeError,
              "a Lorsa has no weight named ",
              name);
  return {S, E};
}

}  // namespace lorsa::model
