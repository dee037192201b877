// Weight gradients of which most products are with 0: only what kept heads reach is multiplied.
//
// Rows of a head's gradient are gathered with the rows of x that they meet (PositionRuns), or,
// where columns end early, sorted by their ends (lengths). Sums run over positions in ascending
// order.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <vector>

#include "kernels/block_product.h"
#include "kernels/cpu/transpose.h"
#include "kernels/cuda_backend.h"
#include "kernels/for_each_task.h"
#include "kernels/part_timer.h"
#include "kernels/product.h"
#include "kernels/product_panels.h"
#include "kernels/shapes.h"

namespace lorsa::kernels {
namespace {

/// Rows and terms are filled up with zeros to a multiple of this: few shapes for block_product.
constexpr int64_t kStep = 16;
/// Columns of the gradient that are sorted by length together: enough that some 32 of them act.
constexpr int64_t kSorted = 256;
/// Positions of a step of the lengths.
constexpr int64_t kLengthStep = 64;

int64_t filled_up(int64_t n) {
  return (n + kStep - 1) / kStep * kStep;
}

/// Rows of a head of the weight's gradient.
class RowsOfHead {
 public:
  RowsOfHead(const at::Tensor& grad_PSE,
             const at::Tensor& x,
             const at::Tensor& x_panels,
             const PositionRuns* runs,
             const LinearGradients& out)
      : P_(x.size(0)),
        K_(x.size(1)),
        width_(grad_PSE.size(2)),
        position_stride_(grad_PSE.stride(0)),
        head_stride_(grad_PSE.stride(1)),
        column_stride_(grad_PSE.stride(2)),
        runs_(runs),
        grad_(grad_PSE.const_data_ptr<float>()),
        x_panels_(x_panels.const_data_ptr<float>()),
        weight_(out.weight_NK.mutable_data_ptr<float>()),
        bias_(out.bias_N.mutable_data_ptr<float>()),
        rows_(static_cast<size_t>(kGradTerms * width_)),
        block_(static_cast<size_t>(width_ * kStride)),
        x_rows_(static_cast<size_t>(kGradTerms * kColumns)),
        sums_(static_cast<size_t>(width_)) {}

  void operator()(int64_t head) {
    std::fill(sums_.begin(), sums_.end(), 0.0);
    begin(head);
    Sum sum = Sum::kReplace;
    while (next()) {
      multiply(head, sum);
      sum = Sum::kAdd;
    }
    if (sum == Sum::kReplace) {
      std::fill_n(weight_ + head * width_ * K_, width_ * K_, 0.0F);
    }
    std::transform(sums_.begin(), sums_.end(), bias_ + head * width_,
                   [](double total) { return static_cast<float>(total); });
  }

 private:
  static constexpr int64_t kStride = kGradTerms + kPadding;

  void begin(int64_t head) {
    run_ = 0;
    if (runs_ == nullptr) {
      rest_ = {{0, P_}};
      return;
    }
    const auto first = runs_->run.begin() + runs_->offset[static_cast<size_t>(head)];
    const auto last = runs_->run.begin() + runs_->offset[static_cast<size_t>(head) + 1];
    rest_.assign(first, last);
  }

  /// The next up to kGradTerms positions; false: the head is done.
  bool next() {
    pieces_.clear();
    terms_ = 0;
    while (run_ < rest_.size() && terms_ < kGradTerms) {
      PositionRun& run = rest_[run_];
      const int64_t taken = std::min(run.end - run.begin, kGradTerms - terms_);
      pieces_.push_back({run.begin, run.begin + taken});
      terms_ += taken;
      run.begin += taken;
      run_ += run.begin == run.end ? 1 : 0;
    }
    return terms_ > 0;
  }

  void multiply(int64_t head, Sum sum) {
    const int64_t padded = filled_up(terms_);
    copy_gradient(grad_ + head * head_stride_, padded);
    cpu::add_row_sums(block_.data(), kStride, width_, terms_, sums_.data());
    const int64_t begin = pieces_.front().begin;
    const bool together = pieces_.size() == 1 && begin + padded <= P_;
    for (int64_t k = 0; k < K_; k += kColumns) {
      const int64_t columns = std::min(kColumns, K_ - k);
      const float* panel = x_panels_ + k * P_;
      if (!together) {
        gather(panel, columns, padded);
      }
      block_product({width_, columns, padded, kStride, columns, K_}, sum, block_.data(),
                    together ? panel + begin * columns : x_rows_.data(),
                    weight_ + head * width_ * K_ + k);
    }
  }

  /// The pieces of a head's gradient, transposed.
  void copy_gradient(const float* grad, int64_t padded) {
    if (position_stride_ == 1) {
      for (int64_t row = 0; row < width_; ++row) {
        float* to = block_.data() + row * kStride;
        for (const PositionRun& piece : pieces_) {
          to = std::copy_n(grad + row * column_stride_ + piece.begin, piece.end - piece.begin, to);
        }
      }
    } else {
      float* to = rows_.data();
      for (const PositionRun& piece : pieces_) {
        for (int64_t p = piece.begin; p < piece.end; ++p) {
          to = std::copy_n(grad + p * position_stride_, width_, to);
        }
      }
      cpu::transpose(rows_.data(), width_, terms_, width_, block_.data(), kStride);
    }
    for (int64_t row = 0; row < width_; ++row) {
      std::fill_n(block_.data() + row * kStride + terms_, padded - terms_, 0.0F);
    }
  }

  void gather(const float* panel, int64_t columns, int64_t padded) {
    float* to = x_rows_.data();
    for (const PositionRun& piece : pieces_) {
      to = std::copy_n(panel + piece.begin * columns, (piece.end - piece.begin) * columns, to);
    }
    std::fill_n(to, (padded - terms_) * columns, 0.0F);
  }

  const int64_t P_, K_, width_, position_stride_, head_stride_, column_stride_;
  const PositionRuns* runs_;
  const float* grad_;
  const float* x_panels_;
  float* weight_;
  float* bias_;
  std::vector<float> rows_;    // [terms, width] of the gradient
  std::vector<float> block_;   // [width, terms], filled up
  std::vector<float> x_rows_;  // [terms, columns] of x, filled up
  std::vector<double> sums_;
  std::vector<PositionRun> rest_;
  size_t run_ = 0;
  std::vector<PositionRun> pieces_;
  int64_t terms_ = 0;
};

/// Columns [first, first + kSorted) of a gradient and how far each reaches into a sequence.
class SortedColumns {
 public:
  /// Those of sequence b that reach anywhere, the longest first.
  void sort(std::span<const int32_t> length_BN, int64_t b, int64_t N, int64_t first) {
    length_ = length_BN.subspan(static_cast<size_t>(b * N + first),
                                static_cast<size_t>(std::min(kSorted, N - first)));
    column_.clear();
    for (int32_t i = 0; i < static_cast<int32_t>(length_.size()); ++i) {
      if (length_[static_cast<size_t>(i)] > 0) {
        column_.push_back(i);
      }
    }
    std::stable_sort(column_.begin(), column_.end(), [&](int32_t i, int32_t j) {
      return length_[static_cast<size_t>(i)] > length_[static_cast<size_t>(j)];
    });
  }

  /// How many reach past position t.
  [[nodiscard]] int64_t past(int64_t t) const {
    const auto end = std::partition_point(column_.begin(), column_.end(), [&](int32_t i) {
      return length_[static_cast<size_t>(i)] > t;
    });
    return end - column_.begin();
  }

  [[nodiscard]] int64_t operator[](int64_t i) const { return column_[static_cast<size_t>(i)]; }

 private:
  std::span<const int32_t> length_;
  std::vector<int32_t> column_;
};

/// Rows [first, first + kSorted) of grad^T x for a gradient whose columns end early.
class RowsByLength {
 public:
  RowsByLength(const at::Tensor& grad,
               const at::Tensor& x,
               const at::Tensor& x_panels,
               std::span<const int32_t> length_BN,
               const LinearGradients& out)
      : P_(x.size(0)),
        K_(x.size(1)),
        N_(grad.size(1)),
        B_(std::ssize(length_BN) / N_),
        T_(P_ / B_),
        length_BN_(length_BN),
        grad_(grad.const_data_ptr<float>()),
        column_stride_(grad.stride(1)),
        x_panels_(x_panels.const_data_ptr<float>()),
        weight_(out.weight_NK.mutable_data_ptr<float>()),
        bias_(out.bias_N.mutable_data_ptr<float>()),
        block_(static_cast<size_t>(kSorted * kStride)),
        product_(static_cast<size_t>(kSorted * kColumns)) {}

  void operator()(int64_t task) {
    first_ = task * kSorted;
    const int64_t rows = std::min(kSorted, N_ - first_);
    std::fill_n(weight_ + first_ * K_, rows * K_, 0.0F);
    sums_.fill(0.0);
    for (int64_t b = 0; b < B_; ++b) {
      sorted_.sort(length_BN_, b, N_, first_);
      for (int64_t t = 0; t < T_ && sorted_.past(t) > 0; t += kGradTerms) {
        multiply(b, t);
      }
    }
    std::transform(sums_.begin(), sums_.begin() + rows, bias_ + first_,
                   [](double total) { return static_cast<float>(total); });
  }

 private:
  static constexpr int64_t kStride = kGradTerms + kPadding;

  /// Adds what positions t to t + kGradTerms of sequence b give.
  void multiply(int64_t b, int64_t t) {
    const int64_t rows = sorted_.past(t);
    const int64_t terms = std::min(kGradTerms, T_ - t);
    const int64_t position = b * T_ + t;
    copy_block(rows, position, terms);
    for (int64_t k = 0; k < K_; k += kColumns) {
      const int64_t columns = std::min(kColumns, K_ - k);
      const float* x = x_panels_ + k * P_ + position * columns;
      for (int64_t i = 0; i < terms; i += kLengthStep) {
        block_product({filled_up(sorted_.past(t + i)), columns, std::min(kLengthStep, terms - i),
                       kStride, columns, columns},
                      i > 0 ? Sum::kAdd : Sum::kReplace, block_.data() + i, x + i * columns,
                      product_.data());
      }
      for (int64_t i = 0; i < rows; ++i) {
        float* weight = weight_ + (first_ + sorted_[i]) * K_ + k;
        const float* product = product_.data() + i * columns;
        for (int64_t j = 0; j < columns; ++j) {
          weight[j] += product[j];
        }
      }
    }
  }

  void copy_block(int64_t rows, int64_t position, int64_t terms) {
    for (int64_t i = 0; i < rows; ++i) {
      std::copy_n(grad_ + (first_ + sorted_[i]) * column_stride_ + position, terms,
                  block_.data() + i * kStride);
    }
    for (int64_t i = rows; i < filled_up(rows); ++i) {
      std::fill_n(block_.data() + i * kStride, terms, 0.0F);
    }
    std::array<double, kSorted> sums = {};
    cpu::add_row_sums(block_.data(), kStride, rows, terms, sums.data());
    for (int64_t i = 0; i < rows; ++i) {
      sums_[static_cast<size_t>(sorted_[i])] += sums[static_cast<size_t>(i)];
    }
  }

  const int64_t P_, K_, N_, B_, T_;
  std::span<const int32_t> length_BN_;
  const float* grad_;
  const int64_t column_stride_;
  const float* x_panels_;
  float* weight_;
  float* bias_;
  std::vector<float> block_;    // [rows, terms] of the gradient, longest first
  std::vector<float> product_;  // [rows, columns]
  std::array<double, kSorted> sums_ = {};
  SortedColumns sorted_;
  int64_t first_ = 0;
};

LinearGradients empty_gradients(int64_t N, const at::Tensor& x) {
  return {at::empty({N, x.size(1)}, x.options()), at::empty({N}, x.options())};
}

/// What lies in the runs, and 0.
at::Tensor within(const at::Tensor& grad_PSE, const PositionRuns& runs) {
  at::Tensor out = at::zeros(grad_PSE.sizes(), grad_PSE.options());
  for (int64_t s = 0; s < grad_PSE.size(1); ++s) {
    for (int64_t i = runs.offset[static_cast<size_t>(s)];
         i < runs.offset[static_cast<size_t>(s) + 1]; ++i) {
      const PositionRun run = runs.run[static_cast<size_t>(i)];
      const auto rows = [&](const at::Tensor& x) {
        return x.select(1, s).slice(0, run.begin, run.end);
      };
      rows(out).copy_(rows(grad_PSE));
    }
  }
  return out;
}

at::Tensor within(const at::Tensor& grad_PN, std::span<const int32_t> length_BN) {
  const int64_t N = grad_PN.size(1);
  const int64_t B = std::ssize(length_BN) / N;
  const int64_t T = grad_PN.size(0) / B;
  const at::Tensor length_BN1 =
      at::tensor(at::ArrayRef<int32_t>(length_BN.data(), length_BN.size())).view({B, 1, N});
  const at::Tensor lies_BTN = at::arange(T).view({1, T, 1}) < length_BN1;
  return at::where(lies_BTN.view({B * T, N}), grad_PN, at::zeros({}, grad_PN.options()));
}

}  // namespace

LinearGradients product_tn_heads(const at::Tensor& grad_PSE,
                                 const at::Tensor& x_PK,
                                 const PositionRuns* runs) {
  const bool plain = runs == nullptr && grad_PSE.is_contiguous();
  const bool reads = grad_PSE.stride(2) == 1 || grad_PSE.stride(0) == 1;
  if (plain || !reads || !in_blocks(grad_PSE, x_PK)) {
    const at::Tensor grad = runs == nullptr ? grad_PSE : within(grad_PSE, *runs);
    return product_tn(grad.reshape({x_PK.size(0), -1}), x_PK);
  }
  const PartTimer timer(Part::kWeightGradient);
  const at::Tensor x_panels = in_panels(x_PK.contiguous());
  LinearGradients out = empty_gradients(grad_PSE.size(1) * grad_PSE.size(2), x_PK);
  for_each_task(grad_PSE.size(1), [&] { return RowsOfHead(grad_PSE, x_PK, x_panels, runs, out); });
  return out;
}

LinearGradients product_tn_heads(const at::Tensor& grad_PSE,
                                 const at::Tensor& x_PK,
                                 const QueryRows& rows) {
  if (grad_PSE.size(2) % kGatheredStep != 0 || x_PK.size(1) % kGatheredStep != 0) {
    return product_tn_heads(grad_PSE, x_PK);
  }
  const PartTimer timer(Part::kWeightGradient);
  return cuda_backend().product_tn_rows(grad_PSE.contiguous(), x_PK.contiguous(), rows);
}

LinearGradients product_tn(const at::Tensor& grad_PN,
                           const at::Tensor& x_PK,
                           std::span<const int32_t> length_BN) {
  if (!in_blocks(grad_PN, x_PK) || grad_PN.stride(0) != 1) {
    return product_tn(length_BN.empty() ? grad_PN : within(grad_PN, length_BN), x_PK);
  }
  const PartTimer timer(Part::kWeightGradient);
  const at::Tensor x_panels = in_panels(x_PK.contiguous());
  LinearGradients out = empty_gradients(grad_PN.size(1), x_PK);
  for_each_task((grad_PN.size(1) + kSorted - 1) / kSorted,
                [&] { return RowsByLength(grad_PN, x_PK, x_panels, length_BN, out); });
  return out;
}

}  // namespace lorsa::kernels
