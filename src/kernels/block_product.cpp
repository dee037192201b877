#include "kernels/block_product.h"

#include <ATen/ATen.h>

#include "torch_private/brgemm.h"

namespace lorsa::kernels {

void block_product(const BlockShape& shape, Sum sum, const float* a, const float* b, float* c) {
  if (shape.rows == 0 || shape.columns == 0) {
    return;
  }
  torch_private::brgemm(shape.rows, shape.columns, shape.inner, shape.a_stride, shape.b_stride,
                        shape.c_stride, sum == Sum::kAdd, a, b, c);
}

void block_product(const BlockShape& shape, Sum sum, const double* a, const double* b, double* c) {
  if (shape.rows == 0 || shape.columns == 0) {
    return;
  }
  const auto matrix = [](const double* data, int64_t rows, int64_t columns, int64_t stride) {
    return at::from_blob(const_cast<double*>(data), {rows, columns}, {stride, 1}, at::kDouble);
  };
  const at::Tensor left = matrix(a, shape.rows, shape.inner, shape.a_stride);
  const at::Tensor right = matrix(b, shape.inner, shape.columns, shape.b_stride);
  at::Tensor result = matrix(c, shape.rows, shape.columns, shape.c_stride);
  if (sum == Sum::kAdd) {
    at::addmm_out(result, result, left, right);
  } else {
    at::mm_out(result, left, right);
  }
}

}  // namespace lorsa::kernels
