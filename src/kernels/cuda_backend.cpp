// Part of liblorsa_cuda.so.
#include "kernels/cuda_backend.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>

#include <limits>
#include <type_traits>

#include "kernels/cuda/adam.cuh"
#include "kernels/cuda/gathered_product.cuh"
#include "kernels/cuda/query_rows.cuh"
#include "kernels/cuda/rope.cuh"
#include "kernels/cuda/sparse_decode.cuh"
#include "kernels/cuda/top_k.cuh"
#include "lorsa/core/api.h"
#include "lorsa/core/error.h"

namespace lorsa::kernels {
namespace {

void check(cudaError_t code, const char* call) {
  LORSA_CHECK(code == cudaSuccess, DeviceError, "{} on CUDA: {} ({}), {}", call,
              cudaGetErrorName(code), static_cast<int>(code), cudaGetErrorString(code));
}

cudaStream_t current_stream(const at::Tensor& tensor) {
  return at::cuda::getCurrentCUDAStream(tensor.device().index()).stream();
}

template <typename T>
const T* const_pointer(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<const T*>(tensor.const_data_ptr()) : nullptr;
}

template <typename T>
T* pointer(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<T*>(tensor.mutable_data_ptr()) : nullptr;
}

/// Calls `function` with a value of the element type of `dtype`, which the checks have let through.
template <typename Function>
auto dispatch(at::ScalarType dtype, Function function) {
  if (dtype == at::kDouble) {
    return function(double{});
  }
  return dtype == at::kFloat ? function(float{}) : function(__nv_bfloat16{});
}

at::ScalarType sum_dtype(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? at::kFloat : dtype;
}

/// TopK::first_invalid of the entry that lies at `position` and `head`, int64 [1] on the device,
/// where `found`, bool [1].
at::Tensor invalid_score(const at::Tensor& z_PH,
                         const at::Tensor& norm_H,
                         const at::Tensor& position,
                         const at::Tensor& head,
                         const at::Tensor& found) {
  const at::Tensor z = z_PH.index_select(0, position).index_select(1, head).view({1});
  return at::cat({position.masked_fill(found.logical_not(), -1).to(at::kDouble),
                  head.to(at::kDouble), z.to(at::kDouble),
                  norm_H.index_select(0, head).to(at::kDouble)});
}

/// Of no positions.
TopK none_kept(const at::Tensor& z_PH, int64_t k) {
  return {at::empty({0, k}, z_PH.options()), at::empty({0, k}, z_PH.options().dtype(at::kInt)),
          at::full({4}, -1.0, z_PH.options().dtype(at::kDouble))};
}

/// For what the kernel does not take: double, very wide rows, a large k. A stable sort keeps the
/// lower head first among equals.
TopK top_k_by_sort(const at::Tensor& z_PH,
                   const at::Tensor& norm_H,
                   int64_t k,
                   Selection selection) {
  const at::Tensor activation = selection == Selection::kSigned ? z_PH : z_PH.clamp_min(0);
  const at::Tensor score = activation.abs().to(norm_H.scalar_type()) * norm_H;
  // argmax takes the first of equals.
  const auto first = [](const at::Tensor& is_one) {
    return is_one.to(at::kByte).argmax().view({1});
  };
  at::Tensor invalid_PH = score.ge(0).logical_not_();
  const at::Tensor invalid_P = invalid_PH.any(1);
  const at::Tensor position = first(invalid_P);
  const at::Tensor head = first(invalid_PH.index_select(0, position));
  invalid_PH.reset();
  const at::Tensor order = std::get<1>(score.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true));
  const at::Tensor head_PK = order.slice(1, 0, k);
  return {activation.gather(1, head_PK), head_PK.to(at::kInt).contiguous(),
          invalid_score(z_PH, norm_H, position, head, invalid_P.any().view({1}))};
}

template <typename T>
TopK top_k_by_kernel(const at::Tensor& z_PH,
                     const at::Tensor& norm_H,
                     int64_t k,
                     Selection selection) {
  const TopKShape shape{z_PH.size(0), z_PH.size(1), k, z_PH.stride(0)};
  TopK kept{at::empty({shape.positions, k}, z_PH.options()),
            at::empty({shape.positions, k}, z_PH.options().dtype(at::kInt))};
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  const at::Tensor first_invalid = at::full({1}, kNone, z_PH.options().dtype(at::kLong));
  check(cuda::top_k(const_pointer<T>(z_PH), const_pointer<float>(norm_H), shape, selection,
                    pointer<T>(kept.value_PK), pointer<int32_t>(kept.head_PK),
                    pointer<unsigned long long>(first_invalid), current_stream(z_PH)),
        "top_k_heads");
  const at::Tensor found = first_invalid != kNone;
  const at::Tensor place = first_invalid * found;
  kept.first_invalid = invalid_score(z_PH, norm_H, place.floor_divide(shape.heads),
                                     place.remainder(shape.heads), found);
  return kept;
}

template <typename T>
cuda::DecodeInput<T> input_of(const TopK& kept, const at::Tensor& W_O_HD, const at::Tensor& b_D) {
  return {const_pointer<T>(kept.value_PK),
          const_pointer<int32_t>(kept.head_PK),
          const_pointer<T>(W_O_HD),
          const_pointer<cuda::Sum<T>>(b_D),
          {kept.value_PK.size(0), W_O_HD.size(0), kept.value_PK.size(1), W_O_HD.size(1)}};
}

namespace on_cuda {

TopK top_k_heads(const at::Tensor& z_PH, const at::Tensor& norm_H, int64_t k, Selection selection) {
  const c10::cuda::CUDAGuard guard(z_PH.device());
  if (z_PH.size(0) == 0) {
    return none_kept(z_PH, k);
  }
  if (z_PH.scalar_type() == at::kDouble || k > kTopKMaxK || z_PH.size(1) > kTopKMaxHeads) {
    return top_k_by_sort(z_PH, norm_H, k, selection);
  }
  return z_PH.scalar_type() == at::kFloat
             ? top_k_by_kernel<float>(z_PH, norm_H, k, selection)
             : top_k_by_kernel<__nv_bfloat16>(z_PH, norm_H, k, selection);
}

at::Tensor sparse_decode(const TopK& kept, const at::Tensor& W_O_HD, const at::Tensor& b_D) {
  const c10::cuda::CUDAGuard guard(W_O_HD.device());
  at::Tensor y_PD = at::empty({kept.value_PK.size(0), W_O_HD.size(1)}, W_O_HD.options());
  dispatch(W_O_HD.scalar_type(), [&](auto type) {
    using T = decltype(type);
    check(cuda::decode(input_of<T>(kept, W_O_HD, b_D), pointer<T>(y_PD), current_stream(W_O_HD)),
          "sparse_decode");
  });
  return y_PD;
}

DecodeLoss sparse_decode_loss(const TopK& kept,
                              const at::Tensor& W_O_HD,
                              const at::Tensor& b_D,
                              const at::Tensor& target_PD,
                              const at::Tensor& scored_P,
                              double grad_scale,
                              Selection selection) {
  const c10::cuda::CUDAGuard guard(W_O_HD.device());
  DecodeLoss result{at::empty(target_PD.sizes(), W_O_HD.options()),
                    at::empty(kept.value_PK.sizes(), W_O_HD.options()),
                    {}};
  // The positions' errors, then their sum.
  const int64_t positions = target_PD.size(0);
  const at::Tensor errors = at::empty({positions + 1}, W_O_HD.options().dtype(at::kDouble));
  dispatch(W_O_HD.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const cuda::LossInput<T> loss{const_pointer<T>(target_PD), const_pointer<uint8_t>(scored_P),
                                  grad_scale, selection};
    const cuda::LossOutput<T> out{pointer<T>(result.grad_y_PD), pointer<T>(result.grad_value_PK),
                                  pointer<double>(errors)};
    check(cuda::decode_loss(input_of<T>(kept, W_O_HD, b_D), loss, out,
                            pointer<double>(errors) + positions, current_stream(W_O_HD)),
          "sparse_decode_loss");
  });
  result.squared_error = errors[positions];
  return result;
}

DecodeGradients sparse_decode_backward(const TopK& kept,
                                       const at::Tensor& grad_y_PD,
                                       int64_t num_heads) {
  const c10::cuda::CUDAGuard guard(grad_y_PD.device());
  const at::TensorOptions sums = grad_y_PD.options().dtype(sum_dtype(grad_y_PD.scalar_type()));
  const int64_t width = grad_y_PD.size(1);
  DecodeGradients result{at::empty({num_heads, width}, sums), at::empty({width}, sums)};
  dispatch(grad_y_PD.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const cuda::BackwardInput<T> in{
        const_pointer<T>(kept.value_PK),
        const_pointer<int32_t>(kept.head_PK),
        const_pointer<T>(grad_y_PD),
        {kept.value_PK.size(0), num_heads, kept.value_PK.size(1), width}};
    const at::Tensor workspace =
        at::empty({static_cast<int64_t>(cuda::decode_backward_workspace_bytes<T>(in.shape))},
                  grad_y_PD.options().dtype(at::kByte));
    const cuda::BackwardOutput<T> out{pointer<cuda::Sum<T>>(result.grad_W_O_HD),
                                      pointer<cuda::Sum<T>>(result.grad_b_D)};
    check(cuda::decode_backward(in, out, pointer<void>(workspace), current_stream(grad_y_PD)),
          "sparse_decode_backward");
  });
  return result;
}

at::Tensor scatter_kept(const at::Tensor& grad_PK, const at::Tensor& head_PK, int64_t num_heads) {
  const c10::cuda::CUDAGuard guard(grad_PK.device());
  at::Tensor out_PH = at::empty({grad_PK.size(0), num_heads}, grad_PK.options());
  dispatch(grad_PK.scalar_type(), [&](auto type) {
    using T = decltype(type);
    check(cuda::scatter_kept(const_pointer<T>(grad_PK), const_pointer<int32_t>(head_PK),
                             {grad_PK.size(0), num_heads, grad_PK.size(1), num_heads},
                             pointer<T>(out_PH), current_stream(grad_PK)),
          "scatter_kept");
  });
  return out_PH;
}

void apply_rope_(at::Tensor& x_BTSE,
                 const RopeSpec& spec,
                 const RopeTable& table,
                 RopeDirection direction) {
  const c10::cuda::CUDAGuard guard(x_BTSE.device());
  const at::Tensor cos = table.cos.contiguous();
  const at::Tensor sin = table.sin.contiguous();
  const cuda::RopeShape shape{x_BTSE.size(0),      x_BTSE.size(1),   x_BTSE.size(2),
                              spec.rotary_dim / 2, x_BTSE.stride(0), x_BTSE.stride(1),
                              x_BTSE.stride(2)};
  dispatch(x_BTSE.scalar_type(), [&](auto type) {
    using T = decltype(type);
    check(cuda::rope(pointer<T>(x_BTSE), const_pointer<cuda::Sum<T>>(cos),
                     const_pointer<cuda::Sum<T>>(sin), shape,
                     spec.layout == RopeLayout::kAdjacentPairs,
                     direction == RopeDirection::kForward ? 1 : -1, current_stream(x_BTSE)),
          "apply_rope_");
  });
}

void adam_step_(at::Tensor& parameter,
                const at::Tensor& gradient,
                at::Tensor& first_moment,
                at::Tensor& second_moment,
                const AdamHyper& hyper,
                const at::Tensor& bfloat16_copy) {
  const c10::cuda::CUDAGuard guard(parameter.device());
  const auto step = [&](auto type) {
    using T = decltype(type);
    check(
        cuda::adam_step(pointer<T>(parameter), const_pointer<T>(gradient), pointer<T>(first_moment),
                        pointer<T>(second_moment), pointer<__nv_bfloat16>(bfloat16_copy),
                        parameter.numel(), hyper, current_stream(parameter)),
        "adam_step_");
  };
  parameter.scalar_type() == at::kFloat ? step(float{}) : step(double{});
}

at::Tensor squared_norm(const at::Tensor& tensor) {
  const c10::cuda::CUDAGuard guard(tensor.device());
  const at::Tensor sums = at::empty({cuda::kNormBlocks + 1}, tensor.options().dtype(at::kDouble));
  const auto sum = [&](auto type) {
    using T = decltype(type);
    check(cuda::squared_norm(const_pointer<T>(tensor), tensor.numel(), pointer<double>(sums),
                             pointer<double>(sums) + cuda::kNormBlocks, current_stream(tensor)),
          "squared_norm");
  };
  tensor.scalar_type() == at::kFloat ? sum(float{}) : sum(double{});
  return sums[cuda::kNormBlocks];
}

QueryRows query_rows(const at::Tensor& grad_PK,
                     const at::Tensor& head_PK,
                     int64_t num_qk_heads,
                     int64_t group) {
  const c10::cuda::CUDAGuard guard(grad_PK.device());
  const cuda::QueryRowsShape shape{grad_PK.size(0), grad_PK.size(1), num_qk_heads, group};
  const at::TensorOptions ints = head_PK.options();
  const at::Tensor words = at::empty({cuda::query_rows_words(shape)}, ints);
  QueryRows rows{at::empty({num_qk_heads, shape.positions}, ints), at::empty({num_qk_heads}, ints)};
  check(cuda::query_rows(const_pointer<__nv_bfloat16>(grad_PK), const_pointer<int32_t>(head_PK),
                         shape, pointer<uint32_t>(words), pointer<int32_t>(rows.position_SP),
                         pointer<int32_t>(rows.count_S), current_stream(grad_PK)),
        "query_rows");
  return rows;
}

LinearGradients product_tn_rows(const at::Tensor& grad_PSE,
                                const at::Tensor& x_PD,
                                const QueryRows& rows) {
  const c10::cuda::CUDAGuard guard(x_PD.device());
  const cuda::GatheredInput in{const_pointer<__nv_bfloat16>(grad_PSE),
                               const_pointer<__nv_bfloat16>(x_PD),
                               const_pointer<int32_t>(rows.position_SP),
                               const_pointer<int32_t>(rows.count_S),
                               x_PD.size(0),
                               grad_PSE.size(1),
                               grad_PSE.size(2),
                               x_PD.size(1)};
  const int64_t N = in.qk_heads * in.head_width;
  const at::TensorOptions sums = x_PD.options().dtype(at::kFloat);
  LinearGradients out{at::empty({N, in.width}, sums), at::empty({N}, sums)};
  check(cuda::gathered_product(in, pointer<float>(out.weight_NK), pointer<float>(out.bias_N),
                               current_stream(x_PD)),
        "product_tn_rows");
  return out;
}

}  // namespace on_cuda
}  // namespace
}  // namespace lorsa::kernels

extern "C" {
LORSA_API extern const lorsa::kernels::CudaBackend lorsa_cuda_kernels;
const lorsa::kernels::CudaBackend lorsa_cuda_kernels = {
    lorsa::kernels::on_cuda::top_k_heads,        lorsa::kernels::on_cuda::sparse_decode,
    lorsa::kernels::on_cuda::sparse_decode_loss, lorsa::kernels::on_cuda::sparse_decode_backward,
    lorsa::kernels::on_cuda::scatter_kept,       lorsa::kernels::on_cuda::apply_rope_,
    lorsa::kernels::on_cuda::adam_step_,         lorsa::kernels::on_cuda::squared_norm,
    lorsa::kernels::on_cuda::query_rows,         lorsa::kernels::on_cuda::product_tn_rows,
};
}
