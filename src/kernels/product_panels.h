#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

// What the CPU products of weight gradients share.

namespace lorsa::kernels {

/// Columns of a block of the right operand: four vectors of AVX-512, which oneDNN's kernel keeps in
/// registers for six or seven rows.
constexpr int64_t kColumns = 64;
/// Positions that a block of the weight gradient takes at a time.
constexpr int64_t kGradTerms = 256;
/// Rows a power of two apart fall on few lines of the caches.
constexpr int64_t kPadding = 16;

/// Whether the product of a and b is cut into blocks: float32 on the CPU, and rows enough that the
/// better kernel saves more than copying the other operand costs.
[[nodiscard]] bool in_blocks(const at::Tensor& a, const at::Tensor& b);

/// x [P, K] cut into panels of kColumns columns: panel k / kColumns is a dense [P, columns] at
/// k * P.
[[nodiscard]] at::Tensor in_panels(const at::Tensor& x_PK);

}  // namespace lorsa::kernels
