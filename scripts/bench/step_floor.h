#pragma once

#include <ATen/ATen.h>

#include <chrono>

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

/// FLOPs of the sparse step: three projections and three weight gradients; the attention's two
/// products over the causal half; in its backward pass three over the causal half of the query rows
/// that have a kept head, and two rows of values for every kept head. Softmax, RoPE, top-k, decode
/// and Adam are left out.
inline double step_flops(const model::DictionaryShape& s,
                         int64_t B,
                         int64_t T,
                         const kernels::TopK& kept) {
  const auto P = static_cast<double>(B * T);
  const auto E = static_cast<double>(s.d_qk);
  const auto heads = static_cast<double>(2 * s.num_qk_heads * s.d_qk + s.num_ov_heads);
  const double products = 2.0 * 2.0 * P * static_cast<double>(s.d_model) * heads;
  const double causal =
      static_cast<double>(B * s.num_qk_heads * T) * static_cast<double>(T + 1) / 2;
  double flops = products + causal * 2.0 * (E + static_cast<double>(s.group()));
  const at::Tensor head_PK = kept.head_PK.cpu();
  const at::Tensor value_PK = kept.value_PK.to(at::kCPU, at::kFloat);
  const int32_t* head = head_PK.const_data_ptr<int32_t>();
  const float* value = value_PK.const_data_ptr<float>();
  const int64_t K = kept.head_PK.size(1);
  std::vector<int64_t> last_position(static_cast<size_t>(s.num_qk_heads), -1);
  for (int64_t p = 0; p < B * T; ++p) {
    const auto keys = static_cast<double>(p % T + 1);
    for (int64_t i = p * K; i < (p + 1) * K; ++i) {
      if (value[i] == 0.0F) {
        continue;
      }
      flops += 2.0 * 2.0 * keys;
      int64_t& last = last_position[static_cast<size_t>(head[i] / s.group())];
      flops += last == p ? 0.0 : 3.0 * 2.0 * E * keys;
      last = p;
    }
  }
  return flops;
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
  const auto P = static_cast<double>(B * T);
  const auto E = static_cast<double>(s.d_qk);
  const auto G = static_cast<double>(s.group());
  const auto heads = static_cast<double>(2 * s.num_qk_heads * s.d_qk + s.num_ov_heads);
  const double causal =
      static_cast<double>(B * s.num_qk_heads * T) * static_cast<double>(T + 1) / 2;
  return 2.0 * 2.0 * P * static_cast<double>(s.d_model) * heads +
         causal * 2.0 * (E + G + 3.0 * E + 2.0 * G);
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
