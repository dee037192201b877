#include "lorsa/kernels/pointwise.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include "kernels/cpu/pointwise_rows.h"
#include "lorsa/core/error.h"

namespace lorsa::kernels {
namespace {

// Elements per task: below this a second thread costs more than it saves.
constexpr int64_t kGrain = 16384;

at::Tensor rms_norm_with_aten(const at::Tensor& x,
                              const at::Tensor& gain,
                              double eps,
                              at::Tensor* unit) {
  const at::Tensor wide = x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
  const at::Tensor inverse = at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + eps);
  at::Tensor value = (wide * inverse).to(x.scalar_type());
  at::Tensor result = value * gain;
  if (unit != nullptr) {
    *unit = std::move(value);
  }
  return result;
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& gain, double eps, at::Tensor* unit) {
  LORSA_CHECK(x.dim() >= 1 && gain.dim() == 1 && gain.size(0) == x.size(-1) &&
                  gain.scalar_type() == x.scalar_type(),
              ShapeError, "rms_norm: x {} {} and gain {} {} do not fit together", x.sizes(),
              x.scalar_type(), gain.sizes(), gain.scalar_type());
  if (!x.is_cpu() || x.scalar_type() != at::kFloat || x.numel() == 0) {
    return rms_norm_with_aten(x, gain, eps, unit);
  }
  const at::Tensor rows = x.contiguous();
  const at::Tensor gains = gain.contiguous();
  at::Tensor result = at::empty_like(rows);
  if (unit != nullptr) {
    *unit = at::empty_like(rows);
  }
  const int64_t D = rows.size(-1);
  const float* in = rows.const_data_ptr<float>();
  const float* gain_data = gains.const_data_ptr<float>();
  float* out = result.mutable_data_ptr<float>();
  float* unit_data = unit == nullptr ? nullptr : unit->mutable_data_ptr<float>();
  at::parallel_for(0, rows.numel() / D, std::max<int64_t>(1, kGrain / D),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t row = begin; row < end; ++row) {
                       cpu::rms_norm_row(in + row * D, gain_data, out + row * D,
                                         unit_data == nullptr ? nullptr : unit_data + row * D, D,
                                         static_cast<float>(eps));
                     }
                   });
  return result;
}

void silu_mul_(at::Tensor& gate, const at::Tensor& up) {
  LORSA_CHECK(gate.sizes() == up.sizes() && gate.scalar_type() == up.scalar_type(), ShapeError,
              "silu_mul_: gate {} {} and up {} {} differ", gate.sizes(), gate.scalar_type(),
              up.sizes(), up.scalar_type());
  if (!gate.is_cpu() || gate.scalar_type() != at::kFloat || !gate.is_contiguous() ||
      !up.is_contiguous()) {
    at::silu_(gate).mul_(up);
    return;
  }
  float* gate_data = gate.mutable_data_ptr<float>();
  const float* up_data = up.const_data_ptr<float>();
  // Blocks of a fixed size: the same vectors, and so the same bits, for every thread count.
  const int64_t size = gate.numel();
  at::parallel_for(0, (size + kGrain - 1) / kGrain, 1, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kGrain;
    cpu::silu_mul(gate_data + first, up_data + first, std::min(size, end * kGrain) - first);
  });
}

}  // namespace lorsa::kernels
