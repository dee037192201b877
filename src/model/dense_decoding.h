#pragma once

#include <ATen/core/Tensor.h>

#include "model/decoding.h"

namespace lorsa::model {

/// What activations are to give, and how the error weighs.
struct Aim {
  at::Tensor b_D;  ///< or undefined
  at::Tensor target_PD;
  at::Tensor scored_P;
  double grad_scale;
};

/// As kernels::DecodeLoss and kernels::DecodeGradients.
struct DenseLoss {
  at::Tensor squared_error;
  at::Tensor grad_y_PD;
  at::Tensor grad_W_O_HD;
  at::Tensor grad_b_D;
};

/// a W_O + b_D against the target by matrix products. a_PH [P, H] in W_O's dtype.
[[nodiscard]] DenseLoss dense_loss(const at::Tensor& a_PH,
                                   const at::Tensor& W_O_HD,
                                   const Aim& aim);

/// decode() for relu and jumprelu, whose activations are no small part of all: matrix products.
/// Returns the gradient of z, [P, H].
[[nodiscard]] at::Tensor decode_dense(const DecodeTask& task,
                                      const at::Tensor& norm_H,
                                      StepResult& result);

}  // namespace lorsa::model
