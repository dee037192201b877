#include <ATen/core/Tensor.h>

#include "lorsa/core/error.h"
#include "lorsa/model/dictionary.h"

namespace lorsa::model {

namespace {

std::vector<std::pair<std::string, at::Tensor*>> all_of(DictionaryWeights& w) {
  return {{"W_Q", &w.W_Q},
          {"W_K", &w.W_K},
          {"b_Q", &w.b_Q},
          {"b_K", &w.b_K},
          {"W_V", &w.W_V},
          {"b_V", &w.b_V},
          {"W_O", &w.W_O},
          {"b_D", &w.b_D},
          {"q_norm", &w.q_norm},
          {"k_norm", &w.k_norm},
          {"log_threshold", &w.log_threshold},
          {"virtual_k", &w.virtual_k}};
}

}  // namespace

std::vector<std::pair<std::string, at::Tensor*>> DictionaryWeights::named() {
  auto all = all_of(*this);
  std::erase_if(all, [](const auto& entry) { return !entry.second->defined(); });
  return all;
}

at::Tensor& DictionaryWeights::at(const std::string& name) {
  for (const auto& [other, tensor] : all_of(*this)) {
    if (other == name) {
      return *tensor;
    }
  }
  throw ShapeError(formatted("a Lorsa has no weight named {}", name));
}

std::vector<std::string> weight_names(const DictionaryShape& shape) {
  DictionaryWeights none;
  std::vector<std::string> names;
  for (const auto& [name, tensor] : all_of(none)) {
    const bool attends = name == "W_Q" || name == "W_K" || name == "b_Q" || name == "b_K";
    const bool present = name == "log_threshold" ? shape.activation == Activation::kJumpRelu
                         : name == "virtual_k"   ? shape.num_virtual_keys > 0
                         : name == "q_norm" || name == "k_norm" ? shape.qk_norm
                                                                : !attends || shape.has_attention();
    if (present) {
      names.push_back(name);
    }
  }
  return names;
}

std::vector<std::pair<std::string, const at::Tensor*>> DictionaryWeights::named() const {
  std::vector<std::pair<std::string, const at::Tensor*>> all;
  for (const auto& [name, tensor] : const_cast<DictionaryWeights*>(this)->named()) {
    all.emplace_back(name, tensor);
  }
  return all;
}

std::vector<int64_t> weight_shape(const DictionaryShape& shape, const std::string& name) {
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
  if (name == "b_V" || name == "log_threshold") {
    return {H};
  }
  if (name == "b_D") {
    return {D};
  }
  if (name == "virtual_k") {
    return {shape.num_virtual_keys, S, E};
  }
  LORSA_CHECK(name == "b_Q" || name == "b_K" || name == "q_norm" || name == "k_norm", ShapeError,
              "a Lorsa has no weight named {}", name);
  return {S, E};
}

}  // namespace lorsa::model
