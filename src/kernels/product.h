#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "lorsa/kernels/attention.h"

// The large products of a layer y = x W^T + b and of its backward pass. On the CPU in float32 they
// are cut into blocks for oneDNN's kernel (block_product.h), whose operands are copied, transposed
// where needed, while they are read: 205 to 219 GFLOP/s on 2 cores, where LibTorch's product
// reaches 165 to 200 and oneDNN's own with a weight packed once a step 182 to 205 (P 1024 to 2048,
// D 576 to 1024, N 2304 to 16384; AMD EPYC, 2026-11-24). Elsewhere they are LibTorch's.
//
// bfloat16 operands have their products summed in float32; results of product_nt are rounded (on a
// device the bias is rounded before it is added), gradients stay float32. On the CPU that is for
// checking: computed in float32.
//
// Bitwise the same for every thread count in float32 on the CPU, from 64 rows on.

namespace lorsa::kernels {

/// x weight^T + bias: x [P, K], weight [N, K], bias [N] or undefined -> [P, N].
[[nodiscard]] at::Tensor product_nt(const at::Tensor& x_PK,
                                    const at::Tensor& weight_NK,
                                    const at::Tensor& bias_N = {});

/// The same for `width` rows of the weight a head: [P, N / width, width]. In blocks, and where a
/// head has whole ones, heads lie behind one another in memory, as attention reads them: a head's
/// rows in a [P, N] result lie on as many pages.
[[nodiscard]] at::Tensor product_nt_heads(const at::Tensor& x_PK,
                                          const at::Tensor& weight_NK,
                                          const at::Tensor& bias_N,
                                          int64_t width);

/// The same, turned by RoPE: P = B * T positions of sequences of T.
[[nodiscard]] at::Tensor product_nt_rotated(const at::Tensor& x_PK,
                                            const at::Tensor& weight_NK,
                                            const at::Tensor& bias_N,
                                            int64_t T,
                                            int64_t width,
                                            const RopeSpec& rope,
                                            const RopeTable& table);

struct LinearGradients {
  at::Tensor weight_NK;
  at::Tensor bias_N;
};

/// Gradients of weight and bias from that of the output: weight_NK = grad^T x, bias_N the column
/// sums of grad. grad [P, N], its rows or its columns contiguous; x [P, K]. Columns of grad that
/// are all zero give rows that are exactly zero.
[[nodiscard]] LinearGradients product_tn(const at::Tensor& grad_PN, const at::Tensor& x_PK);

/// Gradients of product_nt_heads from that of its result, grad [P, heads, width]. With `runs` the
/// gradient is 0 outside of them, is not read there, and costs what lies in them.
[[nodiscard]] LinearGradients product_tn_heads(const at::Tensor& grad_PSE,
                                               const at::Tensor& x_PK,
                                               const PositionRuns* runs = nullptr);

/// The same in bfloat16 on a device for a gradient that is 0 outside of `rows`; of other widths
/// than multiples of 16 the dense product.
[[nodiscard]] LinearGradients product_tn_heads(const at::Tensor& grad_PSE,
                                               const at::Tensor& x_PK,
                                               const QueryRows& rows);

/// Like product_tn for a gradient that is 0 past the first length_BN positions of every sequence (P
/// / B positions each) and column. grad's columns are contiguous, or its products are all made.
[[nodiscard]] LinearGradients product_tn(const at::Tensor& grad_PN,
                                         const at::Tensor& x_PK,
                                         std::span<const int32_t> length_BN);

/// a b in the dtype of its sums: float32 for bfloat16.
[[nodiscard]] at::Tensor product_of_sums(const at::Tensor& a_PK, const at::Tensor& b_KN);

}  // namespace lorsa::kernels
