#pragma once

#include <ATen/ATen.h>

#include <chrono>
#include <numeric>
#include <vector>

#include "lorsa/core/device.h"
#include "lorsa/kernels/sparse.h"
#include "lorsa/model/dictionary.h"

// What a step cannot do without, and how fast this machine does that.

namespace lorsa::bench {

inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Seconds once the device has done all it was given.
inline double seconds(c10::Device device) {
  synchronize(device);
  return seconds();
}

/// One measurement of LibTorch's large product and of a copy, for a median over many: float32 on
/// the CPU, bfloat16 on CUDA, as the step's own products are.
class MachineRates {
 public:
  explicit MachineRates(c10::Device device)
      : device_(device),
        size_(device.is_cuda() ? 8192 : 3072),
        a_(at::randn({size_, size_}).to(device, dtype())),
        b_(at::randn({size_, size_}).to(device, dtype())),
        from_(at::zeros({int64_t{1} << (device.is_cuda() ? 28 : 26)}, at::TensorOptions(device))),
        to_(at::zeros_like(from_)) {}

  /// FLOP/s of at::mm of two square matrices: what LibTorch gives a user.
  [[nodiscard]] double product() const {
    const double start = seconds(device_);
    const at::Tensor c = at::mm(a_, b_);
    const auto n = static_cast<double>(size_);
    return 2.0 * n * n * n / (seconds(device_) - start);
  }

  /// Bytes/s read and written by a copy of 256 MiB (1 GiB on CUDA).
  double copy() {
    const double start = seconds(device_);
    to_.copy_(from_);
    return 2.0 * static_cast<double>(from_.nbytes()) / (seconds(device_) - start);
  }

 private:
  [[nodiscard]] at::ScalarType dtype() const {
    return device_.is_cuda() ? at::kBFloat16 : at::kFloat;
  }

  c10::Device device_;
  int64_t size_;
  at::Tensor a_, b_, from_, to_;
};

/// What the backward pass must touch of one batch because a head was kept there.
struct KeptWork {
  double query_rows = 0.0;  ///< (position, QK head) pairs that own a kept head
  double key_rows = 0.0;    ///< of every sequence and QK head, positions up to its last such query
  double value_rows = 0.0;  ///< of every sequence and OV head, positions up to its last act
  double attention_flops = 0.0;  ///< three products for a query row, two rows of values for a head
};

inline KeptWork kept_work(const model::DictionaryShape& s,
                          int64_t B,
                          int64_t T,
                          const kernels::TopK& kept) {
  const at::Tensor head_PK = kept.head_PK.cpu();
  const at::Tensor value_PK = kept.value_PK.to(at::kCPU, at::kFloat);
  const int32_t* head = head_PK.const_data_ptr<int32_t>();
  const float* value = value_PK.const_data_ptr<float>();
  const int64_t K = kept.head_PK.size(1);
  KeptWork work;
  for (int64_t b = 0; b < B; ++b) {
    std::vector<int64_t> keys(static_cast<size_t>(s.num_qk_heads));
    std::vector<int64_t> values(static_cast<size_t>(s.num_ov_heads));
    for (int64_t t = 0; t < T; ++t) {
      const auto causal = static_cast<double>(t + 1);
      for (int64_t i = (b * T + t) * K; i < (b * T + t + 1) * K; ++i) {
        if (value[i] == 0.0F) {
          continue;
        }
        values[static_cast<size_t>(head[i])] = t + 1;
        work.attention_flops += 2.0 * 2.0 * causal;
        int64_t& last = keys[static_cast<size_t>(head[i] / s.group())];
        if (last != t + 1) {
          work.query_rows += 1.0;
          work.attention_flops += 3.0 * 2.0 * static_cast<double>(s.d_qk) * causal;
          last = t + 1;
        }
      }
    }
    work.key_rows = std::accumulate(keys.begin(), keys.end(), work.key_rows);
    work.value_rows = std::accumulate(values.begin(), values.end(), work.value_rows);
  }
  return work;
}

/// FLOPs of the forward pass: three projections and the attention's two products over the causal
/// half.
inline double forward_flops(const model::DictionaryShape& s, int64_t B, int64_t T) {
  const auto heads = static_cast<double>(2 * s.num_qk_heads * s.d_qk + s.num_ov_heads);
  const double causal =
      static_cast<double>(B * s.num_qk_heads * T) * static_cast<double>(T + 1) / 2;
  return 2.0 * static_cast<double>(B * T * s.d_model) * heads +
         causal * 2.0 * static_cast<double>(s.d_qk + s.group());
}

/// FLOPs of the sparse step: the forward pass, three weight gradients, and of the attention's
/// backward pass what the kept heads need. Softmax, RoPE, top-k, decode and Adam are left out.
inline double step_flops(const model::DictionaryShape& s,
                         int64_t B,
                         int64_t T,
                         const KeptWork& work) {
  const auto heads = static_cast<double>(2 * s.num_qk_heads * s.d_qk + s.num_ov_heads);
  return forward_flops(s, B, T) + 2.0 * static_cast<double>(B * T * s.d_model) * heads +
         work.attention_flops;
}

/// The same where the weight gradients follow the kept heads, too: rows whose gradient is 0 in any
/// case are left out.
inline double kept_flops(const model::DictionaryShape& s,
                         int64_t B,
                         int64_t T,
                         const KeptWork& work) {
  const double rows =
      static_cast<double>(s.d_qk) * (work.query_rows + work.key_rows) + work.value_rows;
  return forward_flops(s, B, T) + 2.0 * static_cast<double>(s.d_model) * rows +
         work.attention_flops;
}

/// Bytes of the sparse step if every array went through memory once per use: weights are read by
/// the forward pass, their gradients written, read for the norm and by Adam, which reads and writes
/// three arrays; q, k and v are written, read by both attention passes and have gradients written
/// and read; z is written and read by the top-k.
inline double step_bytes(const model::DictionaryShape& s, int64_t B, int64_t T) {
  const auto D = static_cast<double>(s.d_model);
  const auto H = static_cast<double>(s.num_ov_heads);
  const auto width = static_cast<double>(s.num_qk_heads * s.d_qk);
  const double weights = 2.0 * (width + H) * D;
  const double activations = 5.0 * (2.0 * width + H) + 2.0 * H + 5.0 * D;
  return 4.0 * (10.0 * weights + static_cast<double>(B * T) * activations);
}

/// FLOPs of the step on CUDA, where cuDNN's backward pass takes all query rows: its five products
/// over the causal half instead of those of step_flops().
inline double dense_attention_flops(const model::DictionaryShape& s, int64_t B, int64_t T) {
  const double causal =
      static_cast<double>(B * s.num_qk_heads * T) * static_cast<double>(T + 1) / 2;
  KeptWork all;
  all.attention_flops = causal * 2.0 * static_cast<double>(3 * s.d_qk + 2 * s.group());
  return step_flops(s, B, T, all);
}

/// Bytes that the bandwidth-bound kernels of the step on CUDA must move beside the products:
/// z read by the top-k, kept rows of W_O read for output and value gradient
/// and of the output's gradient for W_O's, dz written; Adam reads and writes float32 weights and
/// moments, reads gradients (twice, for the norm) and writes bfloat16 copies.
inline double sparse_bytes(const model::DictionaryShape& s, int64_t B, int64_t T) {
  const auto P = static_cast<double>(B * T);
  const auto D = static_cast<double>(s.d_model);
  const auto H = static_cast<double>(s.num_ov_heads);
  const auto K = static_cast<double>(s.top_k);
  const double weights = 2.0 * (static_cast<double>(s.num_qk_heads * s.d_qk) + H) * D;
  return P * (2.0 * 2.0 * H + 3.0 * 2.0 * K * D + 3.0 * 2.0 * D) + 34.0 * weights;
}

}  // namespace lorsa::bench
