#include "kernels/cpu/sparse_decode.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/checks.h"
#include "kernels/cuda_backend.h"
#include "kernels/part_timer.h"
#include "lorsa/kernels/sparse.h"

namespace lorsa::kernels {
namespace {

// About 5 microseconds of products: less is not worth a thread.
constexpr int64_t kGrainProducts = 65536;

DecodeShape shape_of(const TopK& kept, const at::Tensor& W_O_HD) {
  return {kept.value_PK.size(0), W_O_HD.size(0), kept.value_PK.size(1), W_O_HD.size(1)};
}

int64_t grain_rows(const DecodeShape& shape) {
  return std::max<int64_t>(1, kGrainProducts / std::max<int64_t>(1, shape.k * shape.width));
}

void check_kept(const TopK& kept, const at::Tensor& W_O_HD) {
  check_floating(W_O_HD, "W_O_HD");
  LORSA_CHECK(W_O_HD.dim() == 2, ShapeError, "W_O_HD is {}, expected [H, D]", W_O_HD.sizes());
  check_tensor(W_O_HD, "W_O_HD", W_O_HD.sizes(), W_O_HD.scalar_type(), W_O_HD.device());
  LORSA_CHECK(kept.value_PK.defined() && kept.value_PK.dim() == 2, ShapeError,
              "value_PK is not a [P, K] tensor");
  check_tensor(kept.value_PK, "value_PK", kept.value_PK.sizes(), W_O_HD.scalar_type(),
               W_O_HD.device());
  check_tensor(kept.head_PK, "head_PK", kept.value_PK.sizes(), at::kInt, W_O_HD.device());
}

/// A wrong head would read or write outside the weights; on CUDA it is the caller's promise.
void check_heads(const at::Tensor& head_PK, int64_t num_heads) {
  const int32_t* head = head_PK.const_data_ptr<int32_t>();
  const int64_t n = head_PK.numel();
  const int32_t* bad =
      std::find_if(head, head + n, [&](int32_t h) { return h < 0 || h >= num_heads; });
  LORSA_CHECK(bad == head + n, ShapeError, "head_PK holds {} at entry {}, expected 0 to {}", *bad,
              bad - head, num_heads - 1);
}

template <typename T>
cpu::DecodeInput<T> input_of(const TopK& kept, const at::Tensor& W_O_HD, const at::Tensor& b_D) {
  return {kept.value_PK.const_data_ptr<T>(), kept.head_PK.const_data_ptr<int32_t>(),
          W_O_HD.const_data_ptr<T>(), b_D.defined() ? b_D.const_data_ptr<T>() : nullptr,
          shape_of(kept, W_O_HD)};
}

template <typename T>
at::Tensor decode_cpu(const TopK& kept, const at::Tensor& W_O_HD, const at::Tensor& b_D) {
  const cpu::DecodeInput<T> in = input_of<T>(kept, W_O_HD, b_D);
  at::Tensor y_PD = at::empty({in.shape.positions, in.shape.width}, W_O_HD.options());
  T* y = y_PD.mutable_data_ptr<T>();
  at::parallel_for(0, in.shape.positions, grain_rows(in.shape),
                   [&](int64_t begin, int64_t end) { cpu::decode_rows(in, begin, end, y); });
  return y_PD;
}

template <typename T>
DecodeLoss decode_loss_cpu(const TopK& kept,
                           const at::Tensor& W_O_HD,
                           const at::Tensor& b_D,
                           const at::Tensor& target_PD,
                           const at::Tensor& scored_P,
                           double grad_scale) {
  const cpu::DecodeInput<T> in = input_of<T>(kept, W_O_HD, b_D);
  const cpu::LossInput<T> loss{target_PD.const_data_ptr<T>(),
                               static_cast<const uint8_t*>(scored_P.const_data_ptr()), grad_scale};
  DecodeLoss result{at::empty({in.shape.positions, in.shape.width}, W_O_HD.options()), {}};
  T* grad_y = result.grad_y_PD.mutable_data_ptr<T>();
  std::vector<double> squared_error_P(static_cast<size_t>(in.shape.positions));
  at::parallel_for(0, in.shape.positions, grain_rows(in.shape), [&](int64_t begin, int64_t end) {
    cpu::decode_loss_rows(in, loss, begin, end, grad_y, squared_error_P.data());
  });
  // One after the other, whatever the number of threads.
  result.squared_error = at::scalar_tensor(
      std::accumulate(squared_error_P.begin(), squared_error_P.end(), 0.0), at::kDouble);
  return result;
}

/// Heads differ in how many entries they own: cuts at equal work (an empty head still costs its row
/// of zeros, about one entry). The cuts move with the thread count, the sums do not.
template <typename T>
void grad_W_O_parallel(const cpu::HeadLists<T>& lists,
                       const DecodeShape& shape,
                       const T* grad_y,
                       T* grad_W_O) {
  const int64_t parts = std::min<int64_t>(at::get_num_threads() * int64_t{4}, shape.heads);
  std::vector<int64_t> cut(static_cast<size_t>(parts) + 1, shape.heads);
  const int64_t work = lists.offset_H1[shape.heads] + shape.heads;
  int64_t head = 0;
  for (int64_t part = 0; part < parts; ++part) {
    while (head < shape.heads && lists.offset_H1[head] + head < work * part / parts) {
      ++head;
    }
    cut[static_cast<size_t>(part)] = head;
  }
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    cpu::grad_W_O_heads(lists, grad_y, shape.width, cut[static_cast<size_t>(begin)],
                        cut[static_cast<size_t>(end)], grad_W_O);
  });
}

template <typename T>
DecodeGradients backward_cpu(const TopK& kept,
                             const at::Tensor& W_O_HD,
                             const at::Tensor& grad_y_PD,
                             Selection selection) {
  const cpu::DecodeInput<T> in = input_of<T>(kept, W_O_HD, {});
  const DecodeShape& shape = in.shape;
  DecodeGradients result{at::empty({shape.positions, shape.k}, W_O_HD.options()),
                         at::empty({shape.heads, shape.width}, W_O_HD.options()),
                         at::empty({shape.width}, W_O_HD.options())};
  const T* grad_y = grad_y_PD.const_data_ptr<T>();
  T* grad_value = result.grad_value_PK.mutable_data_ptr<T>();
  T* grad_b = result.grad_b_D.mutable_data_ptr<T>();
  at::parallel_for(0, shape.positions, grain_rows(shape), [&](int64_t begin, int64_t end) {
    cpu::grad_value_rows(in, grad_y, selection, begin, end, grad_value);
  });

  const auto entries = static_cast<size_t>(shape.positions * shape.k);
  std::vector<int64_t> offset_H1(static_cast<size_t>(shape.heads) + 1);
  std::vector<int32_t> position(entries);
  std::vector<T> value(entries);
  cpu::sort_by_head(in, offset_H1.data(), position.data(), value.data());
  grad_W_O_parallel<T>({offset_H1.data(), position.data(), value.data()}, shape, grad_y,
                       result.grad_W_O_HD.mutable_data_ptr<T>());

  const int64_t grain_columns =
      std::max<int64_t>(64, kGrainProducts / std::max<int64_t>(1, shape.positions));
  at::parallel_for(0, shape.width, grain_columns, [&](int64_t begin, int64_t end) {
    cpu::column_sums(grad_y, shape, begin, end, grad_b);
  });
  return result;
}

template <typename T>
at::Tensor scatter_cpu(const at::Tensor& grad_PK, const at::Tensor& head_PK, int64_t num_heads) {
  at::Tensor out_PH = at::zeros({grad_PK.size(0), num_heads}, grad_PK.options());
  T* out = out_PH.mutable_data_ptr<T>();
  const T* grad = grad_PK.const_data_ptr<T>();
  const int32_t* head = head_PK.const_data_ptr<int32_t>();
  const int64_t k = grad_PK.size(1);
  for (int64_t entry = 0; entry < grad_PK.numel(); ++entry) {
    if (grad[entry] != T{0}) {
      out[entry / k * num_heads + head[entry]] = grad[entry];
    }
  }
  return out_PH;
}

TopK in_float(const TopK& kept) {
  return {kept.value_PK.to(at::kFloat), kept.head_PK};
}

}  // namespace

at::Tensor sparse_decode(const TopK& kept, const at::Tensor& W_O_HD, const at::Tensor& b_D) {
  check_kept(kept, W_O_HD);
  if (b_D.defined()) {
    check_tensor(b_D, "b_D", {W_O_HD.size(1)}, sum_dtype(W_O_HD.scalar_type()), W_O_HD.device());
  }
  if (runs_on_device(W_O_HD)) {
    return cuda_backend().sparse_decode(kept, W_O_HD, b_D);
  }
  if (rounds_on_cpu(W_O_HD)) {
    return sparse_decode(in_float(kept), W_O_HD.to(at::kFloat), b_D).to(at::kBFloat16);
  }
  check_heads(kept.head_PK, W_O_HD.size(0));
  return W_O_HD.scalar_type() == at::kFloat ? decode_cpu<float>(kept, W_O_HD, b_D)
                                            : decode_cpu<double>(kept, W_O_HD, b_D);
}

DecodeLoss sparse_decode_loss(const TopK& kept,
                              const at::Tensor& W_O_HD,
                              const at::Tensor& b_D,
                              const at::Tensor& target_PD,
                              const at::Tensor& scored_P,
                              double grad_scale) {
  const PartTimer timer(Part::kDecodeLoss);
  check_kept(kept, W_O_HD);
  const at::ScalarType dtype = W_O_HD.scalar_type();
  const int64_t positions = kept.value_PK.size(0);
  if (b_D.defined()) {
    check_tensor(b_D, "b_D", {W_O_HD.size(1)}, sum_dtype(dtype), W_O_HD.device());
  }
  check_tensor(target_PD, "target_PD", {positions, W_O_HD.size(1)}, dtype, W_O_HD.device());
  LORSA_CHECK(scored_P.defined() &&
                  (scored_P.scalar_type() == at::kBool || scored_P.scalar_type() == at::kByte),
              ShapeError, "scored_P is not a bool or uint8 tensor");
  check_tensor(scored_P, "scored_P", {positions}, scored_P.scalar_type(), W_O_HD.device());
  if (runs_on_device(W_O_HD)) {
    return cuda_backend().sparse_decode_loss(kept, W_O_HD, b_D, target_PD, scored_P, grad_scale);
  }
  if (rounds_on_cpu(W_O_HD)) {
    DecodeLoss loss = sparse_decode_loss(in_float(kept), W_O_HD.to(at::kFloat), b_D,
                                         target_PD.to(at::kFloat), scored_P, grad_scale);
    loss.grad_y_PD = loss.grad_y_PD.to(at::kBFloat16);
    return loss;
  }
  check_heads(kept.head_PK, W_O_HD.size(0));
  return dtype == at::kFloat
             ? decode_loss_cpu<float>(kept, W_O_HD, b_D, target_PD, scored_P, grad_scale)
             : decode_loss_cpu<double>(kept, W_O_HD, b_D, target_PD, scored_P, grad_scale);
}

DecodeGradients sparse_decode_backward(const TopK& kept,
                                       const at::Tensor& W_O_HD,
                                       const at::Tensor& grad_y_PD,
                                       Selection selection) {
  const PartTimer timer(Part::kDecodeBackward);
  check_kept(kept, W_O_HD);
  check_tensor(grad_y_PD, "grad_y_PD", {kept.value_PK.size(0), W_O_HD.size(1)},
               W_O_HD.scalar_type(), W_O_HD.device());
  if (runs_on_device(W_O_HD)) {
    return cuda_backend().sparse_decode_backward(kept, W_O_HD, grad_y_PD, selection);
  }
  if (rounds_on_cpu(W_O_HD)) {
    DecodeGradients gradients = sparse_decode_backward(in_float(kept), W_O_HD.to(at::kFloat),
                                                       grad_y_PD.to(at::kFloat), selection);
    gradients.grad_value_PK = gradients.grad_value_PK.to(at::kBFloat16);
    return gradients;
  }
  check_heads(kept.head_PK, W_O_HD.size(0));
  return W_O_HD.scalar_type() == at::kFloat
             ? backward_cpu<float>(kept, W_O_HD, grad_y_PD, selection)
             : backward_cpu<double>(kept, W_O_HD, grad_y_PD, selection);
}

at::Tensor scatter_kept(const at::Tensor& grad_PK, const at::Tensor& head_PK, int64_t num_heads) {
  check_floating(grad_PK, "grad_PK");
  LORSA_CHECK(grad_PK.dim() == 2, ShapeError, "grad_PK is {}, expected [P, K]", grad_PK.sizes());
  LORSA_CHECK(num_heads >= grad_PK.size(1), ShapeError, "K = {} kept of only {} heads",
              grad_PK.size(1), num_heads);
  check_tensor(grad_PK, "grad_PK", grad_PK.sizes(), grad_PK.scalar_type(), grad_PK.device());
  check_tensor(head_PK, "head_PK", grad_PK.sizes(), at::kInt, grad_PK.device());
  if (runs_on_device(grad_PK)) {
    return cuda_backend().scatter_kept(grad_PK, head_PK, num_heads);
  }
  if (rounds_on_cpu(grad_PK)) {
    return scatter_kept(grad_PK.to(at::kFloat), head_PK, num_heads).to(at::kBFloat16);
  }
  check_heads(head_PK, num_heads);
  return grad_PK.scalar_type() == at::kFloat ? scatter_cpu<float>(grad_PK, head_PK, num_heads)
                                             : scatter_cpu<double>(grad_PK, head_PK, num_heads);
}

}  // namespace lorsa::kernels
