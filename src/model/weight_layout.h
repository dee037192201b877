#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "lorsa/model/dictionary.h"

// Checkpoints hold W_Q and W_K as [S, D, E], the field's layout; in memory they are rows [S*E, D].

namespace lorsa::model {

[[nodiscard]] inline bool is_projection(const std::string& name) {
  return name == "W_Q" || name == "W_K";
}

/// [S, D, E] -> [S*E, D]
[[nodiscard]] inline at::Tensor rows_of_heads(const at::Tensor& W_SDE) {
  return W_SDE.transpose(1, 2).contiguous().view({-1, W_SDE.size(1)});
}

/// [S*E, D] -> [S, D, E]
[[nodiscard]] inline at::Tensor heads_of_rows(const DictionaryShape& shape,
                                              const at::Tensor& W_SE_D) {
  return W_SE_D.view({shape.num_qk_heads, shape.d_qk, shape.d_model}).transpose(1, 2).contiguous();
}

}  // namespace lorsa::model
