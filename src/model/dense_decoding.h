#pragma once

#include <ATen/core/Tensor.h>

#include "model/decoding.h"

namespace lorsa::model {

/// decode() for relu and jumprelu, whose activations are no small part of all: matrix products.
/// Returns the gradient of z, [P, H].
[[nodiscard]] at::Tensor decode_dense(const DecodeTask& task,
                                      const at::Tensor& norm_H,
                                      StepResult& result);

}  // namespace lorsa::model
