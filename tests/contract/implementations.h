#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "lorsa/kernels/adam.h"
#include "lorsa/kernels/rope.h"
#include "lorsa/kernels/sparse.h"

namespace lorsa::test {

/// One implementation of the sparse kernels, of Adam and of RoPE, for the suites of this folder to
/// run over. Every tensor that it returns was full of NaN (integers: of their maximum) before the
/// kernel wrote.
struct Implementation {
  std::string name;
  c10::Device device = c10::kCPU;
  std::vector<at::ScalarType> dtypes;

  std::function<kernels::TopK(
      const at::Tensor& z_PH, const at::Tensor& norm_H, int64_t k, kernels::Selection)>
      top_k;
  std::function<at::Tensor(const kernels::TopK&, const at::Tensor& W_O_HD, const at::Tensor& b_D)>
      decode;
  std::function<kernels::DecodeLoss(const kernels::TopK&,
                                    const at::Tensor& W_O_HD,
                                    const at::Tensor& b_D,
                                    const at::Tensor& target_PD,
                                    const at::Tensor& scored_P,
                                    double grad_scale,
                                    kernels::Selection)>
      decode_loss;
  std::function<kernels::DecodeGradients(
      const kernels::TopK&, const at::Tensor& grad_y_PD, int64_t num_heads)>
      decode_backward;
  std::function<at::Tensor(const at::Tensor& grad_PK, const at::Tensor& head_PK, int64_t num_heads)>
      scatter;
  std::function<void(at::Tensor& parameter,
                     const at::Tensor& gradient,
                     at::Tensor& first_moment,
                     at::Tensor& second_moment,
                     const kernels::AdamHyper&)>
      adam;
  std::function<double(const at::Tensor&)> squared_norm;
  /// Empty for the reference loops, which have none.
  std::function<void(at::Tensor& x_BTSE,
                     const kernels::RopeSpec&,
                     const kernels::RopeTable&,
                     kernels::RopeDirection)>
      rope = {};
};

/// What the binary at hand tests: reference and cpu in test_contract, cuda in test_gpu, its kernels
/// without a device in test_emulation.
const std::vector<Implementation>& implementations();

/// The tensor functions of lorsa/kernels on `device`, their outputs poisoned.
Implementation public_implementation(std::string name,
                                     c10::Device device,
                                     std::vector<at::ScalarType> dtypes);

/// Calls `test(implementation, dtype)` for each of them, inside a section of that name.
void for_each_implementation(
    const std::function<void(const Implementation&, at::ScalarType)>& test);

}  // namespace lorsa::test
