#include "lorsa/kernels/rope.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <numbers>

#include "kernels/checks.h"
#include "kernels/cpu/rope_rows.h"
#include "kernels/cuda_backend.h"
#include "kernels/part_timer.h"
#include "lorsa/core/error.h"

namespace lorsa::kernels {
namespace {

// The operations and their order are those of transformers' modeling_rope_utils.py, in float32, so
// that the rounding is the same.
at::Tensor inverse_frequencies(const RopeSpec& spec) {
  const at::Tensor exponent =
      at::arange(0, spec.rotary_dim, 2, at::kLong).to(at::kFloat) / spec.rotary_dim;
  at::Tensor frequency = 1.0 / at::pow(spec.base, exponent);
  switch (spec.scaling) {
    case RopeScaling::kNone:
      return frequency;
    case RopeScaling::kLinear:
      return frequency / spec.factor;
    case RopeScaling::kLlama3:
      break;
  }
  const double context = static_cast<double>(spec.original_context);
  const double long_wave = context / spec.low_freq_factor;
  const double short_wave = context / spec.high_freq_factor;
  const at::Tensor wave = 2.0 * std::numbers::pi / frequency;
  const at::Tensor scaled = at::where(wave > long_wave, frequency / spec.factor, frequency);
  const at::Tensor smooth =
      (context / wave - spec.low_freq_factor) / (spec.high_freq_factor - spec.low_freq_factor);
  const at::Tensor blended = (1.0 - smooth) * scaled / spec.factor + smooth * scaled;
  return at::where((wave >= short_wave) & (wave <= long_wave), blended, scaled);
}

void check_spec(const RopeSpec& spec) {
  LORSA_CHECK(spec.rotary_dim >= 0 && spec.rotary_dim % 2 == 0, ShapeError,
              "rope: rotary_dim = {}, expected an even number >= 0", spec.rotary_dim);
  LORSA_CHECK(spec.base > 0.0, ShapeError, "rope: base = {}, expected > 0", spec.base);
  LORSA_CHECK(spec.scaling == RopeScaling::kNone || spec.factor > 0.0, ShapeError,
              "rope: factor = {}, expected > 0", spec.factor);
  LORSA_CHECK(spec.scaling != RopeScaling::kLlama3 ||
                  (spec.low_freq_factor > 0.0 && spec.high_freq_factor > spec.low_freq_factor &&
                   spec.original_context > 0),
              ShapeError,
              "rope: llama3 scaling needs 0 < low_freq_factor < high_freq_factor and "
              "original_context > 0, found {}, {}, {}",
              spec.low_freq_factor, spec.high_freq_factor, spec.original_context);
}

template <typename T>
void rotate_on_cpu(at::Tensor& x_BTSE,
                   const RopeSpec& spec,
                   const RopeTable& table,
                   RopeDirection direction) {
  const int64_t half = spec.rotary_dim / 2;
  const int64_t T_ = x_BTSE.size(1);
  const int64_t S = x_BTSE.size(2);
  const int64_t batch_stride = x_BTSE.stride(0);
  const int64_t row_stride = x_BTSE.stride(1);
  const int64_t head_stride = x_BTSE.stride(2);
  const at::Tensor cos_table = table.cos.contiguous();
  const at::Tensor sin_table = table.sin.contiguous();
  const T* cos = cos_table.const_data_ptr<T>();
  const T* sin = sin_table.const_data_ptr<T>();
  T* x = x_BTSE.mutable_data_ptr<T>();
  const T sign = direction == RopeDirection::kForward ? T{1} : T{-1};
  const auto rotate = [&](T* first, int64_t t, const cpu::RotatedRows& rows) {
    if (spec.layout == RopeLayout::kHalfSplit) {
      cpu::rotate_half_split(first, rows, cos + t * half, sin + t * half, half, sign);
    } else {
      cpu::rotate_adjacent(first, rows, cos + t * half, sin + t * half, half, sign);
    }
  };
  // In the order in which the rows lie. Below some 16k rotated elements a thread costs more than it
  // saves.
  const bool by_head = head_stride > row_stride;
  const int64_t B = x_BTSE.size(0);
  const int64_t grain = 16384 / std::max<int64_t>(1, (by_head ? T_ : S) * spec.rotary_dim);
  at::parallel_for(0, B * (by_head ? S : T_), std::max<int64_t>(1, grain),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) {
                       if (by_head) {
                         rotate(x + i % B * batch_stride + i / B * head_stride, 0,
                                {.positions = T_, .position_stride = row_stride});
                       } else {
                         rotate(x + i / T_ * batch_stride + i % T_ * row_stride, i % T_,
                                {.heads = S, .head_stride = head_stride});
                       }
                     }
                   });
}

void rotate_with_aten(at::Tensor& x_BTSE,
                      const RopeSpec& spec,
                      const RopeTable& table,
                      RopeDirection direction) {
  // bfloat16 is rotated in float32 and rounded once.
  const at::ScalarType dtype = x_BTSE.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const int64_t half = spec.rotary_dim / 2;
  const bool split = spec.layout == RopeLayout::kHalfSplit;
  at::Tensor first = split ? x_BTSE.narrow(-1, 0, half) : x_BTSE.slice(-1, 0, spec.rotary_dim, 2);
  at::Tensor second =
      split ? x_BTSE.narrow(-1, half, half) : x_BTSE.slice(-1, 1, spec.rotary_dim, 2);
  const int64_t T_ = x_BTSE.size(1);
  const at::Tensor cos = table.cos.narrow(0, 0, T_).to(x_BTSE.device(), dtype).unsqueeze(1);
  at::Tensor sin = table.sin.narrow(0, 0, T_).to(x_BTSE.device(), dtype).unsqueeze(1);
  if (direction == RopeDirection::kInverse) {
    sin = sin.neg();
  }
  const at::Tensor a = first.to(dtype);
  const at::Tensor b = second.to(dtype);
  const at::Tensor rotated_first = a * cos - b * sin;
  second.copy_(b * cos + a * sin);
  first.copy_(rotated_first);
}

}  // namespace

RopeTable rope_table(const RopeSpec& spec,
                     int64_t num_positions,
                     at::ScalarType dtype,
                     c10::Device device) {
  struct Last {
    RopeSpec spec;
    int64_t num_positions = -1;
    at::ScalarType dtype = at::kFloat;
    c10::Device device = c10::kCPU;
    RopeTable table;
  };

  // Every step of a training asks for the same one.
  thread_local Last last;
  if (last.spec == spec && last.num_positions == num_positions && last.dtype == dtype &&
      last.device == device) {
    return last.table;
  }
  check_spec(spec);
  const at::Tensor position = at::arange(num_positions, at::kLong).to(at::kFloat);
  const at::Tensor angle = position.unsqueeze(1) * inverse_frequencies(spec).unsqueeze(0);
  last = {spec,
          num_positions,
          dtype,
          device,
          {angle.cos().to(device, dtype), angle.sin().to(device, dtype)}};
  return last.table;
}

void apply_rope_(at::Tensor& x_BTSE,
                 const RopeSpec& spec,
                 const RopeTable& table,
                 RopeDirection direction) {
  const PartTimer timer(Part::kRope);
  if (spec.rotary_dim == 0 || x_BTSE.numel() == 0) {
    return;
  }
  LORSA_CHECK(x_BTSE.dim() == 4, ShapeError, "apply_rope_: expected [B, T, S, E], found {}",
              x_BTSE.sizes());
  LORSA_CHECK(spec.rotary_dim <= x_BTSE.size(3), ShapeError,
              "rotary_dim = {} exceeds the head width {}", spec.rotary_dim, x_BTSE.size(3));
  LORSA_CHECK(table.cos.dim() == 2 && table.cos.size(0) >= x_BTSE.size(1) &&
                  table.cos.size(1) == spec.rotary_dim / 2 &&
                  table.cos.sizes() == table.sin.sizes(),
              ShapeError, "apply_rope_: expected tables of [>= {}, {}], found {} and {}",
              x_BTSE.size(1), spec.rotary_dim / 2, table.cos.sizes(), table.sin.sizes());
  const auto fits = [&](const at::Tensor& part) {
    return part.device() == x_BTSE.device() &&
           part.scalar_type() == sum_dtype(x_BTSE.scalar_type());
  };
  const bool fast = fits(table.cos) && fits(table.sin) && x_BTSE.stride(3) == 1;
  if (fast && runs_on_device(x_BTSE) && x_BTSE.scalar_type() != at::kHalf) {
    cuda_backend().apply_rope_(x_BTSE, spec, table, direction);
  } else if (fast && x_BTSE.is_cpu() && x_BTSE.scalar_type() == at::kFloat) {
    rotate_on_cpu<float>(x_BTSE, spec, table, direction);
  } else if (fast && x_BTSE.is_cpu() && x_BTSE.scalar_type() == at::kDouble) {
    rotate_on_cpu<double>(x_BTSE, spec, table, direction);
  } else {
    rotate_with_aten(x_BTSE, spec, table, direction);
  }
}

}  // namespace lorsa::kernels
