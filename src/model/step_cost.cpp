#include "lorsa/model/step_cost.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "kernels/shapes.h"
#include "model/selection.h"

namespace lorsa::model {
namespace {

/// Bytes of the tensors of one step, named as in step.cpp.
class StepTensors {
 public:
  StepTensors(const DictionaryShape& shape, const StepSize& size)
      : cuda_(size.on_cuda),
        bfloat16_(size.in_bfloat16),
        attends_(shape.num_qk_heads > 0),
        trains_qk_(attends_ && size.trains_qk),
        sparse_(is_sparse(shape.activation)),
        penalty_(size.has_penalty),
        batchtopk_(shape.activation == Activation::kBatchTopK) {
    const int64_t P = size.num_positions;
    const int64_t e = bfloat16_ ? 2 : 4;
    const int64_t K = std::max(size.top_k, shape.top_k);
    const int64_t SE = shape.num_qk_heads * shape.d_qk;
    const int64_t H = shape.num_ov_heads;
    const int64_t D = shape.d_model;
    x_ = bfloat16_ ? e * P * D : 0;
    qk_ = e * P * SE;
    v_ = e * P * H;
    z_full_ = 4 * P * H;
    lse_ = 4 * P * shape.num_qk_heads;
    // Normalised queries and keys in float32.
    norms_ = shape.qk_norm ? 2 * 4 * P * SE : 0;
    kept_ = sparse_ ? P * K * (e + 4) : 0;
    grad_kept_ = sparse_ ? P * K * e : 0;
    y_ = e * P * D;
    y_full_ = 4 * P * D;
    W_O_ = 4 * H * D;
    W_V_ = 4 * H * D;
    W_Q_ = 4 * SE * D;
    sort_ = cuda_ && sparse_ ? P * K * 24 : 0;
    const auto sorts = [&](int64_t k) {
      return cuda_ && sparse_ && (k > kernels::kTopKMaxK || H > kernels::kTopKMaxHeads);
    };
    // Activations, scores, those sorted, their places, LibTorch's first places and CUB's copies of
    // both: LibTorch sorts as many rows at a time as have 2^31 scores.
    const int64_t sorting = P * H * (e + 4 + 4 + 8) + std::min(P * H, int64_t{1} << 31) * (8 + 12);
    select_ = sorts(K) && !batchtopk_ ? sorting : 0;
    // AuxK's heads may be all; beside them their z.
    select_aux_ = size.aux_k > 0 && sorts(size.aux_k) ? sorting + v_ : 0;
  }

  [[nodiscard]] int64_t peak() const {
    const int64_t forward = x_ + 2 * qk_ + norms_ + (attends_ ? 2 : 1) * v_ + lse_;
    const int64_t after_decode = kept_ + grad_kept_ + W_O_;
    if (!attends_) {
      // The gradient of z, spread over all features for the bias.
      return std::max(forward + decode(), forward + after_decode + grad_kept_ + sort_ + v_ + W_V_);
    }
    return std::max({forward + decode(), forward + after_decode + attention_backward(),
                     weight_gradients(after_decode)});
  }

 private:
  [[nodiscard]] int64_t decode() const {
    const int64_t target = bfloat16_ ? y_ : 0;
    if (!sparse_) {
      // Activations and their gradient, scores and their gradient; errors.
      return target + v_ + z_full_ * (penalty_ ? 5 : 3) + 2 * y_full_ + y_ + W_O_;
    }
    const int64_t chosen =
        target + std::max(select_, kept_ + grad_kept_ + y_ + W_O_ + std::max(sort_, select_aux_));
    // Scores, those above 0 and, where several threads gather them, their places; what is kept of
    // z.
    return batchtopk_ ? std::max(chosen, target + 5 * z_full_) : chosen;
  }

  [[nodiscard]] int64_t attention_backward() const {
    const int64_t d_z = cuda_ || !sparse_ ? v_ : 0;
    // cuDNN sums dQ in float32.
    const int64_t workspace = cuda_ ? 2 * qk_ : 0;
    return d_z + v_ + (trains_qk_ || cuda_ ? 2 * qk_ + workspace : 0);
  }

  [[nodiscard]] int64_t weight_gradients(int64_t before) const {
    // The CPU's product cuts its right operand, the input, into panels.
    const int64_t panels = cuda_ ? 0 : y_full_;
    const int64_t base = x_ + norms_ + before + W_V_ + panels;
    if (!trains_qk_) {
      return base + v_;
    }
    return std::max({base + v_ + 2 * qk_, base + 2 * qk_ + W_Q_, base + qk_ + 2 * W_Q_});
  }

  const bool cuda_, bfloat16_, attends_, trains_qk_, sparse_, penalty_, batchtopk_;
  int64_t x_, qk_, v_, z_full_, lse_, norms_, kept_, grad_kept_, y_, y_full_, W_O_, W_V_, W_Q_,
      sort_, select_, select_aux_;
};

int64_t num_values(const WeightInfo& weight, const DictionaryShape& shape) {
  const std::vector<int64_t> sizes = weight.sizes(shape);
  return std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<>());
}

}  // namespace

int64_t step_bytes(const DictionaryShape& shape, const StepSize& size) {
  return StepTensors(shape, size).peak();
}

// FlashAttention 2's backward pass reads outside of its buffers past 2^31 padded values, and cuDNN
// is not known to do better past 2^31 of q.
int64_t max_cuda_sequences(const DictionaryShape& shape, int64_t positions) {
  constexpr int64_t kMost = int64_t{1} << 31;
  const int64_t S = shape.num_qk_heads;
  int64_t values = positions * std::max(S * shape.d_qk, shape.num_ov_heads);
  if (S > 0) {
    const int64_t width = std::max({shape.d_qk, shape.num_ov_heads / S, int64_t{32}});
    values = std::max(values, S * ((positions + 127) / 128 * 128) * width);
  }
  return kMost / values;
}

int64_t num_parameters(const DictionaryShape& shape) {
  int64_t sum = 0;
  for (const WeightInfo& weight : weight_table()) {
    sum += weight.is_present(shape) ? num_values(weight, shape) : 0;
  }
  return sum;
}

int64_t num_matrix_values(const DictionaryShape& shape) {
  int64_t sum = 0;
  for (const WeightInfo& weight : weight_table()) {
    sum += weight.is_matrix && weight.is_present(shape) ? num_values(weight, shape) : 0;
  }
  return sum;
}

StepFlops step_flops(const DictionaryShape& shape, int64_t context_length) {
  const auto D = static_cast<double>(shape.d_model);
  const auto H = static_cast<double>(shape.num_ov_heads);
  const auto SE = static_cast<double>(shape.num_qk_heads * shape.d_qk);
  const auto T = static_cast<double>(context_length);
  StepFlops flops;
  flops.projections = 2.0 * 2.0 * D * (2.0 * SE + H);
  flops.attention = shape.num_qk_heads == 0
                        ? 0.0
                        : 0.5 * 2.0 * T * (SE + H) + 0.5 * 2.0 * T * (3.0 * SE + 2.0 * H);
  flops.decode = 3.0 * 2.0 * static_cast<double>(shape.top_k) * D;
  return flops;
}

}  // namespace lorsa::model
