#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>

#include "lorsa/core/error.h"
#include "lorsa/model/dictionary.h"

namespace lorsa::model {
namespace {

using Shape = DictionaryShape;
using Sizes = std::vector<int64_t>;
using W = DictionaryWeights;

bool always(const Shape& /*shape*/) {
  return true;
}

bool with_attention(const Shape& s) {
  return s.num_qk_heads > 0;
}

bool with_qk_norm(const Shape& s) {
  return s.qk_norm;
}

bool with_thresholds(const Shape& s) {
  return s.activation == Activation::kJumpRelu;
}

bool with_virtual_keys(const Shape& s) {
  return s.num_virtual_keys > 0;
}

Sizes qk_rows(const Shape& s) {
  return {s.num_qk_heads * s.d_qk, s.d_model};
}

Sizes of_qk_heads(const Shape& s) {
  return {s.num_qk_heads, s.d_qk};
}

Sizes ov_rows(const Shape& s) {
  return {s.num_ov_heads, s.d_model};
}

Sizes of_ov_heads(const Shape& s) {
  return {s.num_ov_heads};
}

Sizes of_width(const Shape& s) {
  return {s.d_model};
}

Sizes of_virtual_keys(const Shape& s) {
  return {s.num_virtual_keys, s.num_qk_heads, s.d_qk};
}

constexpr std::array<WeightInfo, 12> kTable = {{
    {"W_Q", &W::W_Q, qk_rows, with_attention, HeadAxis::kQk, true},
    {"W_K", &W::W_K, qk_rows, with_attention, HeadAxis::kQk, true},
    {"b_Q", &W::b_Q, of_qk_heads, with_attention, HeadAxis::kQk, false},
    {"b_K", &W::b_K, of_qk_heads, with_attention, HeadAxis::kQk, false},
    {"W_V", &W::W_V, ov_rows, always, HeadAxis::kOv, true},
    {"b_V", &W::b_V, of_ov_heads, always, HeadAxis::kOv, false},
    {"W_O", &W::W_O, ov_rows, always, HeadAxis::kOv, true},
    {"b_D", &W::b_D, of_width, always, HeadAxis::kNone, false},
    {"q_norm", &W::q_norm, of_qk_heads, with_qk_norm, HeadAxis::kQk, false},
    {"k_norm", &W::k_norm, of_qk_heads, with_qk_norm, HeadAxis::kQk, false},
    {"log_threshold", &W::log_threshold, of_ov_heads, with_thresholds, HeadAxis::kOv, false},
    {"virtual_k", &W::virtual_k, of_virtual_keys, with_virtual_keys, HeadAxis::kNone, false},
}};

}  // namespace

std::span<const WeightInfo> weight_table() {
  return kTable;
}

const WeightInfo& weight_info(const std::string& name) {
  const auto found = std::find_if(kTable.begin(), kTable.end(),
                                  [&](const WeightInfo& weight) { return name == weight.name; });
  LORSA_CHECK(found != kTable.end(), ShapeError, "a dictionary has no weight named {}", name);
  return *found;
}

std::vector<std::pair<std::string, at::Tensor*>> DictionaryWeights::named() {
  std::vector<std::pair<std::string, at::Tensor*>> all;
  for (const WeightInfo& weight : kTable) {
    if ((this->*weight.member).defined()) {
      all.emplace_back(weight.name, &(this->*weight.member));
    }
  }
  return all;
}

std::vector<std::pair<std::string, const at::Tensor*>> DictionaryWeights::named() const {
  std::vector<std::pair<std::string, const at::Tensor*>> all;
  for (const WeightInfo& weight : kTable) {
    if ((this->*weight.member).defined()) {
      all.emplace_back(weight.name, &(this->*weight.member));
    }
  }
  return all;
}

at::Tensor& DictionaryWeights::at(const std::string& name) {
  return this->*weight_info(name).member;
}

std::vector<std::string> matrix_names() {
  std::vector<std::string> names;
  for (const WeightInfo& weight : kTable) {
    if (weight.is_matrix) {
      names.emplace_back(weight.name);
    }
  }
  return names;
}

std::vector<std::string> weight_names(const DictionaryShape& shape) {
  std::vector<std::string> names;
  for (const WeightInfo& weight : kTable) {
    if (weight.is_present(shape)) {
      names.emplace_back(weight.name);
    }
  }
  return names;
}

std::vector<int64_t> weight_shape(const DictionaryShape& shape, const std::string& name) {
  return weight_info(name).sizes(shape);
}

}  // namespace lorsa::model
