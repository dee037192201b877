#include "kernels/product.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "kernels/block_product.h"
#include "kernels/checks.h"
#include "kernels/cpu/transpose.h"
#include "kernels/cuda_backend.h"
#include "kernels/for_each_task.h"
#include "kernels/part_timer.h"
#include "kernels/product_panels.h"
#include "kernels/rotation.h"
#include "torch_private/whole_sums.h"

namespace lorsa::kernels {
namespace {

/// A transposed block of 64 columns and 1024 terms is 256 KiB: a quarter of the second-level cache.
constexpr int64_t kMostTerms = 1024;
/// Rows of a call, so that a block of the result stays in the first two caches while the terms
/// after the first 1024 are added. 64, 256 and 1024 differ by less than 3 %.
constexpr int64_t kRows = 256;
/// Columns of the gradient in a block of the weight's.
constexpr int64_t kGradColumns = 128;

/// What is done to a head's rows [P, width] of a product as soon as they are there; may be empty.
using FinishHead = std::function<void(float*)>;

/// Columns [first, last) of x weight^T + bias for all positions, of a result in which `width`
/// columns lie together: [N / width, P, width]. With a bias x has a last column of ones, which it
/// meets as one more term: to write it into the result first is a pass over that.
class ColumnsOfProduct {
 public:
  ColumnsOfProduct(const at::Tensor& x,
                   const at::Tensor& weight,
                   const at::Tensor& bias,
                   int64_t width,
                   const FinishHead& finish,
                   const at::Tensor& y)
      : P_(x.size(0)),
        K_(weight.size(1)),
        N_(weight.size(0)),
        x_stride_(x.size(1)),
        width_(width),
        finish_(finish),
        x_(x.const_data_ptr<float>()),
        weight_(weight.const_data_ptr<float>()),
        bias_(bias.defined() ? bias.const_data_ptr<float>() : nullptr),
        y_(y.mutable_data_ptr<float>()),
        block_(static_cast<size_t>((std::min(K_, kMostTerms) + 1) * kColumns)) {}

  /// Columns of a task: a head where heads are finished, else a block.
  static int64_t task_columns(int64_t width, const FinishHead& finish) {
    return finish ? width : kColumns;
  }

  void operator()(int64_t task) {
    const int64_t taken = task_columns(width_, finish_);
    const int64_t begin = task * taken;
    for (int64_t first = begin; first < std::min(begin + taken, N_); first += kColumns) {
      multiply(first, std::min(kColumns, N_ - first));
    }
    if (finish_) {
      finish_(y_ + begin * P_);
    }
  }

 private:
  void multiply(int64_t first, int64_t columns) {
    for (int64_t k = 0; k < K_; k += kMostTerms) {
      const int64_t terms = std::min(kMostTerms, K_ - k);
      cpu::transpose(weight_ + first * K_ + k, K_, columns, terms, block_.data(), columns);
      const bool with_bias = bias_ != nullptr && k + terms == K_;
      if (with_bias) {
        std::copy_n(bias_ + first, columns, block_.data() + terms * columns);
      }
      for (int64_t p = 0; p < P_; p += kRows) {
        block_product({std::min(kRows, P_ - p), columns, terms + (with_bias ? 1 : 0), x_stride_,
                       columns, width_},
                      k > 0 ? Sum::kAdd : Sum::kReplace, x_ + p * x_stride_ + k, block_.data(),
                      y_ + (first / width_ * P_ + p) * width_ + first % width_);
      }
    }
  }

  const int64_t P_, K_, N_, x_stride_, width_;
  const FinishHead& finish_;
  const float* x_;
  const float* weight_;
  const float* bias_;
  float* y_;
  std::vector<float> block_;  // [terms, columns] of the weight, transposed
};

/// Rows [first, last) of grad^T x and their sums of grad.
class RowsOfGradient {
 public:
  RowsOfGradient(const at::Tensor& grad,
                 const at::Tensor& x,
                 const at::Tensor& x_panels,
                 const LinearGradients& out)
      : P_(x.size(0)),
        K_(x.size(1)),
        N_(grad.size(1)),
        grad_(grad.const_data_ptr<float>()),
        position_stride_(grad.stride(0)),
        column_stride_(grad.stride(1)),
        x_panels_(x_panels.const_data_ptr<float>()),
        weight_(out.weight_NK.mutable_data_ptr<float>()),
        bias_(out.bias_N.mutable_data_ptr<float>()),
        block_(static_cast<size_t>(kGradColumns * (kGradTerms + kPadding))) {}

  void operator()(int64_t task) {
    const int64_t first = task * kGradColumns;
    const int64_t rows = std::min(kGradColumns, N_ - first);
    double sums[kGradColumns] = {};
    for (int64_t p = 0; p < P_; p += kGradTerms) {
      const int64_t terms = std::min(kGradTerms, P_ - p);
      const float* block = grad_ + first * column_stride_ + p * position_stride_;
      int64_t stride = column_stride_;
      if (position_stride_ != 1) {
        stride = kGradTerms + kPadding;
        cpu::transpose(block, position_stride_, terms, rows, block_.data(), stride);
        block = block_.data();
      }
      cpu::add_row_sums(block, stride, rows, terms, sums);
      for (int64_t k = 0; k < K_; k += kColumns) {
        const int64_t columns = std::min(kColumns, K_ - k);
        block_product({rows, columns, terms, stride, columns, K_},
                      p > 0 ? Sum::kAdd : Sum::kReplace, block, x_panels_ + k * P_ + p * columns,
                      weight_ + first * K_ + k);
      }
    }
    std::transform(sums, sums + rows, bias_ + first,
                   [](double sum) { return static_cast<float>(sum); });
  }

 private:
  const int64_t P_, K_, N_;
  const float* grad_;
  const int64_t position_stride_, column_stride_;
  const float* x_panels_;
  float* weight_;
  float* bias_;
  std::vector<float> block_;  // [rows, terms] of the gradient, transposed
};

/// [N / width, P, width]
at::Tensor blocked_product(const at::Tensor& x_PK,
                           const at::Tensor& weight_NK,
                           const at::Tensor& bias_N,
                           int64_t width,
                           const FinishHead& finish = {}) {
  const at::Tensor x =
      bias_N.defined() ? at::constant_pad_nd(x_PK, {0, 1}, 1.0) : x_PK.contiguous();
  const at::Tensor weight = weight_NK.contiguous();
  const at::Tensor bias = bias_N.defined() ? bias_N.contiguous() : bias_N;
  at::Tensor y = at::empty({weight.size(0) / width, x.size(0), width}, x.options());
  const int64_t taken = ColumnsOfProduct::task_columns(width, finish);
  for_each_task((weight.size(0) + taken - 1) / taken,
                [&] { return ColumnsOfProduct(x, weight, bias, width, finish, y); });
  return y;
}

}  // namespace

bool in_blocks(const at::Tensor& a, const at::Tensor& b) {
  constexpr int64_t kLeastRows = 64;
  return !runs_on_device(a) && a.is_cpu() && b.is_cpu() && a.scalar_type() == at::kFloat &&
         b.scalar_type() == at::kFloat && a.size(0) >= kLeastRows && b.size(1) > 0;
}

at::Tensor in_panels(const at::Tensor& x) {
  const int64_t P = x.size(0);
  const int64_t K = x.size(1);
  at::Tensor out = at::empty({P * K}, x.options());
  const float* from = x.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  at::parallel_for(0, (K + kColumns - 1) / kColumns, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin * kColumns; k < std::min(end * kColumns, K); k += kColumns) {
      const int64_t columns = std::min(kColumns, K - k);
      for (int64_t p = 0; p < P; ++p) {
        std::copy_n(from + p * K + k, columns, to + k * P + p * columns);
      }
    }
  });
  return out;
}

at::Tensor product_nt(const at::Tensor& x_PK,
                      const at::Tensor& weight_NK,
                      const at::Tensor& bias_N) {
  const PartTimer timer(Part::kProjection);
  if (rounds_on_cpu(x_PK)) {
    return product_nt(x_PK.to(at::kFloat), weight_NK.to(at::kFloat), bias_N).to(at::kBFloat16);
  }
  if (x_PK.scalar_type() == at::kBFloat16) {
    const torch_private::WholeSums whole_sums;
    return bias_N.defined() ? at::addmm(bias_N.to(at::kBFloat16), x_PK, weight_NK.t())
                            : at::mm(x_PK, weight_NK.t());
  }
  if (!in_blocks(x_PK, weight_NK)) {
    return bias_N.defined() ? at::addmm(bias_N, x_PK, weight_NK.t()) : at::mm(x_PK, weight_NK.t());
  }
  return blocked_product(x_PK, weight_NK, bias_N, weight_NK.size(0)).squeeze(0);
}

bool has_whole_blocks(const at::Tensor& x, const at::Tensor& weight, int64_t width) {
  return in_blocks(x, weight) && width % kColumns == 0;
}

at::Tensor product_nt_heads(const at::Tensor& x_PK,
                            const at::Tensor& weight_NK,
                            const at::Tensor& bias_N,
                            int64_t width) {
  if (!has_whole_blocks(x_PK, weight_NK, width)) {
    return product_nt(x_PK, weight_NK, bias_N).view({x_PK.size(0), -1, width});
  }
  const PartTimer timer(Part::kProjection);
  return blocked_product(x_PK, weight_NK, bias_N, width).transpose(0, 1);
}

at::Tensor product_nt_rotated(const at::Tensor& x_PK,
                              const at::Tensor& weight_NK,
                              const at::Tensor& bias_N,
                              int64_t T,
                              int64_t width,
                              const RopeSpec& rope,
                              const RopeTable& table) {
  const int64_t P = x_PK.size(0);
  if (!has_whole_blocks(x_PK, weight_NK, width)) {
    at::Tensor y_PSE = product_nt_heads(x_PK, weight_NK, bias_N, width);
    at::Tensor y_BTSE = y_PSE.unflatten(0, {T > 0 ? P / T : 0, T});
    apply_rope_(y_BTSE, rope, table, RopeDirection::kForward);
    return y_PSE;
  }
  const PartTimer timer(Part::kProjection);
  const RowRotation<float> rotation(rope, table);
  const auto turn = [&](float* rows) {
    for (int64_t p = 0; p < P; p += T) {
      rotation.rotate(rows + p * width, 0, T, width, RopeDirection::kForward);
    }
  };
  return blocked_product(x_PK, weight_NK, bias_N, width, turn).transpose(0, 1);
}

LinearGradients product_tn(const at::Tensor& grad_PN, const at::Tensor& x_PK) {
  const PartTimer timer(Part::kWeightGradient);
  if (rounds_on_cpu(x_PK)) {
    return product_tn(grad_PN.to(at::kFloat), x_PK.to(at::kFloat));
  }
  if (x_PK.scalar_type() == at::kBFloat16) {
    return {at::mm(grad_PN.t(), x_PK, at::kFloat),
            grad_PN.sum(at::IntArrayRef{0}, /*keepdim=*/false, at::kFloat)};
  }
  if (!in_blocks(grad_PN, x_PK)) {
    return {at::mm(grad_PN.t(), x_PK), grad_PN.sum(0)};
  }
  const bool rows_or_columns = grad_PN.stride(0) == 1 || grad_PN.stride(1) == 1;
  const at::Tensor grad = rows_or_columns ? grad_PN : grad_PN.contiguous();
  const at::Tensor x = x_PK.contiguous();
  const at::Tensor x_panels = in_panels(x);
  LinearGradients out{at::empty({grad.size(1), x.size(1)}, x.options()),
                      at::empty({grad.size(1)}, x.options())};
  for_each_task((grad.size(1) + kGradColumns - 1) / kGradColumns,
                [&] { return RowsOfGradient(grad, x, x_panels, out); });
  return out;
}

at::Tensor product_of_sums(const at::Tensor& a_PK, const at::Tensor& b_KN) {
  if (rounds_on_cpu(a_PK)) {
    return at::mm(a_PK.to(at::kFloat), b_KN.to(at::kFloat));
  }
  return a_PK.scalar_type() == at::kBFloat16 ? at::mm(a_PK, b_KN, at::kFloat) : at::mm(a_PK, b_KN);
}

}  // namespace lorsa::kernels
