#include "lorsa/model/step_cost.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "kernels/shapes.h"
#include "model/decoding.h"
#include "model/selection.h"

namespace lorsa::model {
namespace {

/// Bytes of the tensors of one step, named as in step.cpp and decoding.cpp.
class StepTensors {
 public:
  /// With K heads kept at every position.
  StepTensors(const DictionaryShape& shape, const StepSize& size, int64_t K)
      : P_(size.num_positions),
        K_(K),
        H_(shape.num_ov_heads),
        D_(shape.d_model),
        e_(size.in_bfloat16 ? 2 : 4),
        most_gathered_(most_gathered_heads(shape, size.in_bfloat16)),
        aux_k_(is_sparse(shape.activation) ? std::min(size.aux_k, H_) : 0),
        cuda_(size.on_cuda),
        bfloat16_(size.in_bfloat16),
        attends_(shape.num_qk_heads > 0),
        trains_qk_(attends_ && size.trains_qk),
        sparse_(is_sparse(shape.activation)),
        penalty_(size.has_penalty),
        batchtopk_(shape.activation == Activation::kBatchTopK),
        threshold_(sparse_ && size.measures_threshold) {
    const int64_t SE = shape.num_qk_heads * shape.d_qk;
    x_ = bfloat16_ ? e_ * P_ * D_ : 0;
    qk_ = e_ * P_ * SE;
    qk_full_ = 4 * P_ * SE;
    v_ = e_ * P_ * H_;
    z_full_ = 4 * P_ * H_;
    lse_ = 4 * P_ * shape.num_qk_heads;
    // Normalised queries and keys in float32.
    norms_ = shape.qk_norm ? 2 * qk_full_ : 0;
    y_ = e_ * P_ * D_;
    y_full_ = 4 * P_ * D_;
    W_ = 4 * H_ * D_;
    W_Q_ = 4 * SE * D_;
    // The gradient in float32, that of what is normalised, its mean's share, both, and the product.
    norm_backward_ = shape.qk_norm ? (bfloat16_ ? 5 : 4) * qk_full_ : 0;
    // Queries, where they are not yet, and their part of the gradient in float32; weights and two
    // gradients of scores.
    virtual_keys_ = shape.num_virtual_keys > 0
                        ? (bfloat16_ ? 2 : 1) * qk_full_ +
                              3 * 4 * P_ * shape.num_qk_heads * shape.num_virtual_keys
                        : 0;
    const bool keeps_scores =
        cuda_ && attends_ && !kernels::fits_fused_attention(shape.d_qk, shape.group(), e_);
    // Weights and four gradients in float32, the last in the products' dtype too.
    scores_ = keeps_scores
                  ? (5 * 4 + (bfloat16_ ? e_ : 0)) * P_ * shape.num_qk_heads * size.context_length
                  : 0;
    // The plan holds for every K from the final one up.
    q_rows_ = cuda_ && bfloat16_ && sparse_ && trains_qk_ &&
                      kernels::gathers_query_rows(shape.top_k, shape.num_qk_heads, shape.d_qk)
                  ? 4 * (P_ + 1) * shape.num_qk_heads
                  : 0;
  }

  [[nodiscard]] int64_t peak() const {
    const int64_t forward = x_ + 2 * qk_ + norms_ + (attends_ ? 2 : 1) * v_ + lse_;
    const int64_t kept = sparse_ ? entries(K_) : 0;
    // With AuxK both selections' entries, in one, beside the first.
    const int64_t d_z = !sparse_ ? 0 : aux_k_ > 0 ? entries(K_ + aux_k_) : e_ * P_ * K_;
    const int64_t after_decode = kept + d_z + W_;
    if (!attends_) {
      // The encoder's gradient as the decoder's, then that of z, spread over all features for the
      // bias.
      const int64_t K = K_ + aux_k_;
      const bool gathers = cuda_ && sparse_ && K <= most_gathered_;
      const int64_t gathering = gathers ? e_ * P_ * K + sorting_by_head(K) : 0;
      return forward + std::max(decode(), after_decode + W_ + std::max(gathering, v_));
    }
    return std::max({forward + decode(), forward + after_decode + attention_backward(),
                     weight_gradients(after_decode)});
  }

 private:
  /// Values and heads of k entries a position.
  [[nodiscard]] int64_t entries(int64_t k) const { return P_ * k * (e_ + 4); }

  /// CUDA's decode backward: keys and entries with copies and the sort's own, offsets, what parts
  /// have of heads that reach over their edges.
  [[nodiscard]] int64_t sorting_by_head(int64_t k) const {
    const int64_t parts = (P_ * k + kernels::kDecodePart - 1) / kernels::kDecodePart;
    return P_ * k * 24 + 8 * H_ + parts * 2 * D_ * 4;
  }

  /// Activations, scores, those sorted, their places, LibTorch's first places and CUB's copies of
  /// both: LibTorch sorts as many rows at a time as have 2^31 scores.
  [[nodiscard]] int64_t selection(int64_t k) const {
    const bool sorts = cuda_ && (k > kernels::kTopKMaxK || H_ > kernels::kTopKMaxHeads);
    const int64_t at_once = std::min(P_ * H_, int64_t{1} << 31);
    return entries(k) + (sorts ? P_ * H_ * (e_ + 4 + 4 + 8) + at_once * (8 + 12) : 0);
  }

  /// The output's gradient, those of values and of W_O, and what makes them.
  [[nodiscard]] int64_t decode_kept(int64_t k) const {
    const int64_t results = y_ + W_ + e_ * P_ * k;
    if (!cuda_) {
      return results;
    }
    if (k <= most_gathered_) {
      return results + std::max(sorting_by_head(k), 8 * P_);
    }
    // Activations, the error and its square; then their gradient with the places of kept ones.
    return std::max({v_ + 2 * y_full_, v_ + y_full_ + y_ + W_, results + v_ + 8 * P_ * k});
  }

  [[nodiscard]] int64_t decode() const {
    const int64_t target = bfloat16_ ? y_ : 0;
    if (!sparse_) {
      // Activations and their gradient, scores and their gradient; errors.
      return target + v_ + z_full_ * (penalty_ ? 5 : 3) + 2 * y_full_ + y_ + W_;
    }
    // Scores, those above 0 and, where several threads gather them, their places; what is kept of
    // z.
    constexpr int64_t kChoosing = 5;
    const int64_t choosing = kChoosing * z_full_;
    const int64_t decoded = entries(K_) + y_ + W_ + e_ * P_ * K_;
    // Places, and whether they count.
    int64_t most = std::max({batchtopk_ ? choosing : selection(K_), entries(K_) + decode_kept(K_),
                             decoded + 10 * P_ * K_, threshold_ ? decoded + choosing : 0});
    if (aux_k_ > 0) {
      // Of others: their z, as many as all, and the places of what is kept.
      const int64_t select = v_ + 8 * P_ * K_ + selection(aux_k_);
      const int64_t decode = entries(aux_k_) + y_ + decode_kept(aux_k_);
      const int64_t join = entries(aux_k_) + 2 * y_ + W_ + e_ * P_ * aux_k_ + entries(K_ + aux_k_);
      most = std::max(most, decoded + std::max({select, decode, join}));
    }
    return target + most;
  }

  [[nodiscard]] int64_t attention_backward() const {
    const int64_t d_z = cuda_ || !sparse_ ? v_ : 0;
    const int64_t gradients = v_ + (trains_qk_ || cuda_ ? 2 * qk_ : 0);
    // cuDNN sums dQ in float32, and has the rows' sums of weights times gradients.
    const int64_t workspace = cuda_ ? std::max(qk_full_ + lse_, scores_) : 0;
    return std::max(d_z + gradients + workspace, gradients + (trains_qk_ ? virtual_keys_ : 0));
  }

  [[nodiscard]] int64_t weight_gradients(int64_t before) const {
    // The CPU's product cuts its right operand, the input, into panels.
    const int64_t panels = cuda_ ? 0 : y_full_;
    const int64_t base = x_ + norms_ + before + W_;
    if (!trains_qk_) {
      return base + panels + v_;
    }
    return std::max({base + panels + v_ + 2 * qk_ + q_rows_,
                     base + 2 * qk_ + norm_backward_ + q_rows_,
                     base + panels + 2 * qk_ + W_Q_ + q_rows_, base + qk_ + W_Q_ + norm_backward_,
                     base + panels + qk_ + 2 * W_Q_});
  }

  const int64_t P_, K_, H_, D_, e_, most_gathered_, aux_k_;
  const bool cuda_, bfloat16_, attends_, trains_qk_, sparse_, penalty_, batchtopk_, threshold_;
  int64_t x_, qk_, qk_full_, v_, z_full_, lse_, norms_, y_, y_full_, W_, W_Q_, norm_backward_,
      virtual_keys_, scores_, q_rows_;
};

int64_t num_values(const WeightInfo& weight, const DictionaryShape& shape) {
  const std::vector<int64_t> sizes = weight.sizes(shape);
  return std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<>());
}

}  // namespace

int64_t step_bytes(const DictionaryShape& shape, const StepSize& size) {
  const int64_t most = std::max(size.top_k, shape.top_k);
  // Of all K of a training the most that is gathered may need more than the largest.
  const int64_t gathered =
      std::clamp(most_gathered_heads(shape, size.in_bfloat16), shape.top_k, most);
  return std::max(StepTensors(shape, size, most).peak(), StepTensors(shape, size, gathered).peak());
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
