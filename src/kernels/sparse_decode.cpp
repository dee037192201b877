#include "kernels/cpu/sparse_decode.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <vector>

#include "kernels/checks.h"
#include "kernels/cuda_backend.h"
#include "kernels/part_timer.h"
#include "kernels/shapes.h"
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

/// `rows`, W_O_HD or grad_y_PD, gives dtype and device.
void check_kept(const TopK& kept, const at::Tensor& rows, const char* name) {
  check_floating(rows, name);
  LORSA_CHECK(rows.dim() == 2, ShapeError, "{} is {}, expected two dimensions", name, rows.sizes());
  check_tensor(rows, name, rows.sizes(), rows.scalar_type(), rows.device());
  LORSA_CHECK(kept.value_PK.defined() && kept.value_PK.dim() == 2, ShapeError,
              "value_PK is not a [P, K] tensor");
  check_tensor(kept.value_PK, "value_PK", kept.value_PK.sizes(), rows.scalar_type(), rows.device());
  check_tensor(kept.head_PK, "head_PK", kept.value_PK.sizes(), at::kInt, rows.device());
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
                           double grad_scale,
                           Selection selection) {
  const cpu::DecodeInput<T> in = input_of<T>(kept, W_O_HD, b_D);
  const cpu::LossInput<T> loss{target_PD.const_data_ptr<T>(),
                               static_cast<const uint8_t*>(scored_P.const_data_ptr()), grad_scale,
                               selection};
  DecodeLoss result{at::empty({in.shape.positions, in.shape.width}, W_O_HD.options()),
                    at::empty({in.shape.positions, in.shape.k}, W_O_HD.options()),
                    {}};
  std::vector<double> squared_error_P(static_cast<size_t>(in.shape.positions));
  const cpu::LossOutput<T> out{result.grad_y_PD.mutable_data_ptr<T>(),
                               result.grad_value_PK.mutable_data_ptr<T>(), squared_error_P.data()};
  at::parallel_for(0, in.shape.positions, grain_rows(in.shape), [&](int64_t begin, int64_t end) {
    cpu::decode_loss_rows(in, loss, begin, end, out);
  });
  // One after the other, whatever the number of threads.
  result.squared_error = at::scalar_tensor(
      std::accumulate(squared_error_P.begin(), squared_error_P.end(), 0.0), at::kDouble);
  return result;
}

/// W_O's gradient from lists of entries. A list of more than kDecodePart entries is cut there, so
/// that a head that acts everywhere is no longer one thread's; the parts' sums are added in order.
/// Threads take parts of about equal work (an empty head still costs its row of zeros, about one
/// entry): those cuts move with the thread count, the sums do not.
template <typename T>
void grad_W_O_parallel(const cpu::HeadLists<T>& lists,
                       const DecodeShape& shape,
                       const T* grad_y,
                       T* grad_W_O) {
  const auto further_parts = [&](int64_t head) {
    return std::max<int64_t>(0, lists.offset_H1[head + 1] - lists.offset_H1[head] - 1) /
           kDecodePart;
  };
  int64_t num_further = 0;
  for (int64_t head = 0; head < shape.heads; ++head) {
    num_further += further_parts(head);
  }
  std::vector<T> further(static_cast<size_t>(num_further * shape.width));
  std::vector<cpu::ListPart<T>> parts;
  parts.reserve(static_cast<size_t>(shape.heads + num_further));
  T* row = further.data();
  for (int64_t head = 0; head < shape.heads; ++head) {
    const int64_t last = lists.offset_H1[head + 1];
    int64_t first = lists.offset_H1[head];
    parts.push_back({first, std::min(first + kDecodePart, last), grad_W_O + head * shape.width});
    for (first += kDecodePart; first < last; first += kDecodePart, row += shape.width) {
      parts.push_back({first, std::min(first + kDecodePart, last), row});
    }
  }

  const auto num_parts = static_cast<int64_t>(parts.size());
  const int64_t pieces = std::min<int64_t>(at::get_num_threads() * int64_t{4}, num_parts);
  std::vector<const cpu::ListPart<T>*> cut(static_cast<size_t>(pieces) + 1,
                                           parts.data() + num_parts);
  const int64_t work = lists.offset_H1[shape.heads] + num_parts;
  int64_t next = 0;
  for (int64_t piece = 0; piece < pieces; ++piece) {
    while (next < num_parts &&
           parts[static_cast<size_t>(next)].first + next < work * piece / pieces) {
      ++next;
    }
    cut[static_cast<size_t>(piece)] = parts.data() + next;
  }
  at::parallel_for(0, pieces, 1, [&](int64_t begin, int64_t end) {
    cpu::sum_list_parts(lists, grad_y, shape.width, cut[static_cast<size_t>(begin)],
                        cut[static_cast<size_t>(end)]);
  });

  row = further.data();
  for (int64_t head = 0; head < shape.heads; ++head) {
    T* out = grad_W_O + head * shape.width;
    for (int64_t part = further_parts(head); part > 0; --part, row += shape.width) {
      std::transform(out, out + shape.width, row, out, std::plus<>());
    }
  }
}

template <typename T>
DecodeGradients backward_cpu(const TopK& kept, const at::Tensor& grad_y_PD, int64_t num_heads) {
  const DecodeShape shape{kept.value_PK.size(0), num_heads, kept.value_PK.size(1),
                          grad_y_PD.size(1)};
  DecodeGradients result{at::empty({shape.heads, shape.width}, grad_y_PD.options()),
                         at::empty({shape.width}, grad_y_PD.options())};
  const T* grad_y = grad_y_PD.const_data_ptr<T>();
  T* grad_b = result.grad_b_D.mutable_data_ptr<T>();

  const auto entries = static_cast<size_t>(shape.positions * shape.k);
  std::vector<int64_t> offset_H1(static_cast<size_t>(shape.heads) + 1);
  std::vector<int32_t> position(entries);
  std::vector<T> value(entries);
  cpu::sort_by_head({kept.value_PK.const_data_ptr<T>(), kept.head_PK.const_data_ptr<int32_t>(),
                     nullptr, nullptr, shape},
                    offset_H1.data(), position.data(), value.data());
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
  check_kept(kept, W_O_HD, "W_O_HD");
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
                              double grad_scale,
                              Selection selection) {
  const PartTimer timer(Part::kDecodeLoss);
  check_kept(kept, W_O_HD, "W_O_HD");
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
    return cuda_backend().sparse_decode_loss(kept, W_O_HD, b_D, target_PD, scored_P, grad_scale,
                                             selection);
  }
  if (rounds_on_cpu(W_O_HD)) {
    DecodeLoss loss = sparse_decode_loss(in_float(kept), W_O_HD.to(at::kFloat), b_D,
                                         target_PD.to(at::kFloat), scored_P, grad_scale, selection);
    loss.grad_y_PD = loss.grad_y_PD.to(at::kBFloat16);
    loss.grad_value_PK = loss.grad_value_PK.to(at::kBFloat16);
    return loss;
  }
  check_heads(kept.head_PK, W_O_HD.size(0));
  const auto decode_loss = dtype == at::kFloat ? decode_loss_cpu<float> : decode_loss_cpu<double>;
  return decode_loss(kept, W_O_HD, b_D, target_PD, scored_P, grad_scale, selection);
}

DecodeGradients sparse_decode_backward(const TopK& kept,
                                       const at::Tensor& grad_y_PD,
                                       int64_t num_heads) {
  const PartTimer timer(Part::kDecodeBackward);
  check_kept(kept, grad_y_PD, "grad_y_PD");
  check_tensor(grad_y_PD, "grad_y_PD", {kept.value_PK.size(0), grad_y_PD.size(1)},
               grad_y_PD.scalar_type(), grad_y_PD.device());
  if (runs_on_device(grad_y_PD)) {
    return cuda_backend().sparse_decode_backward(kept, grad_y_PD, num_heads);
  }
  if (rounds_on_cpu(grad_y_PD)) {
    return sparse_decode_backward(in_float(kept), grad_y_PD.to(at::kFloat), num_heads);
  }
  check_heads(kept.head_PK, num_heads);
  return grad_y_PD.scalar_type() == at::kFloat ? backward_cpu<float>(kept, grad_y_PD, num_heads)
                                               : backward_cpu<double>(kept, grad_y_PD, num_heads);
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
