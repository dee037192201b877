#include <ATen/ATen.h>

#include "contract/implementations.h"
#include "kernels/reference/adam.h"
#include "kernels/reference/sparse.h"
#include "lorsa/core/error.h"

// The reference loops dressed as tensor functions, and the list of implementations of
// test_contract.

namespace lorsa::test {
namespace {

using kernels::DecodeShape;
using kernels::Selection;
using kernels::TopK;
using kernels::TopKShape;
namespace reference = kernels::reference;

at::Tensor poisoned(at::IntArrayRef shape, const at::Tensor& like) {
  return at::full(shape, std::numeric_limits<double>::quiet_NaN(), like.options());
}

template <typename Function>
auto dispatch(at::ScalarType dtype, Function function) {
  return dtype == at::kFloat ? function(float{}) : function(double{});
}

DecodeShape shape_of(const TopK& kept, const at::Tensor& W_O_HD) {
  return {kept.value_PK.size(0), W_O_HD.size(0), kept.value_PK.size(1), W_O_HD.size(1)};
}

template <typename T>
const T* data_or_null(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
}

TopK top_k(const at::Tensor& z, const at::Tensor& norm, int64_t k, Selection selection) {
  TopK kept{poisoned({z.size(0), k}, z),
            at::full({z.size(0), k}, std::numeric_limits<int32_t>::max(), at::kInt)};
  const int64_t invalid = dispatch(z.scalar_type(), [&](auto type) {
    using T = decltype(type);
    return reference::top_k<T>(
        z.const_data_ptr<T>(), norm.const_data_ptr<T>(), {z.size(0), z.size(1), k, z.stride(0)},
        selection, kept.value_PK.mutable_data_ptr<T>(), kept.head_PK.mutable_data_ptr<int32_t>());
  });
  LORSA_CHECK(invalid < 0, Error, "score of position {}, head {} is NaN", invalid / z.size(1),
              invalid % z.size(1));
  return kept;
}

at::Tensor decode(const TopK& kept, const at::Tensor& W_O, const at::Tensor& b) {
  at::Tensor y = poisoned({kept.value_PK.size(0), W_O.size(1)}, W_O);
  dispatch(W_O.scalar_type(), [&](auto type) {
    using T = decltype(type);
    reference::decode<T>(kept.value_PK.const_data_ptr<T>(), kept.head_PK.const_data_ptr<int32_t>(),
                         W_O.const_data_ptr<T>(), data_or_null<T>(b), shape_of(kept, W_O),
                         y.mutable_data_ptr<T>());
  });
  return y;
}

kernels::DecodeLoss decode_loss(const TopK& kept,
                                const at::Tensor& W_O,
                                const at::Tensor& b,
                                const at::Tensor& target,
                                const at::Tensor& scored,
                                double grad_scale,
                                Selection selection) {
  kernels::DecodeLoss result{poisoned({kept.value_PK.size(0), W_O.size(1)}, W_O),
                             poisoned(kept.value_PK.sizes(), W_O),
                             {}};
  const double squared_error = dispatch(W_O.scalar_type(), [&](auto type) {
    using T = decltype(type);
    return reference::decode_loss<T>(
        kept.value_PK.const_data_ptr<T>(), kept.head_PK.const_data_ptr<int32_t>(),
        W_O.const_data_ptr<T>(), data_or_null<T>(b), target.const_data_ptr<T>(),
        static_cast<const uint8_t*>(scored.const_data_ptr()), grad_scale, selection,
        shape_of(kept, W_O), result.grad_y_PD.mutable_data_ptr<T>(),
        result.grad_value_PK.mutable_data_ptr<T>());
  });
  result.squared_error = at::scalar_tensor(squared_error, at::kDouble);
  return result;
}

kernels::DecodeGradients decode_backward(const TopK& kept,
                                         const at::Tensor& grad_y,
                                         int64_t num_heads) {
  const DecodeShape shape{kept.value_PK.size(0), num_heads, kept.value_PK.size(1), grad_y.size(1)};
  kernels::DecodeGradients result{poisoned({num_heads, shape.width}, grad_y),
                                  poisoned({shape.width}, grad_y)};
  dispatch(grad_y.scalar_type(), [&](auto type) {
    using T = decltype(type);
    reference::decode_backward<T>(
        kept.value_PK.const_data_ptr<T>(), kept.head_PK.const_data_ptr<int32_t>(),
        grad_y.const_data_ptr<T>(), shape, result.grad_W_O_HD.mutable_data_ptr<T>(),
        result.grad_b_D.mutable_data_ptr<T>());
  });
  return result;
}

at::Tensor scatter(const at::Tensor& grad, const at::Tensor& head, int64_t num_heads) {
  at::Tensor out = poisoned({grad.size(0), num_heads}, grad);
  dispatch(grad.scalar_type(), [&](auto type) {
    using T = decltype(type);
    reference::scatter_kept<T>(grad.const_data_ptr<T>(), head.const_data_ptr<int32_t>(),
                               {grad.size(0), num_heads, grad.size(1), num_heads},
                               out.mutable_data_ptr<T>());
  });
  return out;
}

void adam(at::Tensor& p,
          const at::Tensor& g,
          at::Tensor& m,
          at::Tensor& v,
          const kernels::AdamHyper& hyper) {
  dispatch(p.scalar_type(), [&](auto type) {
    using T = decltype(type);
    reference::adam_step<T>(p.mutable_data_ptr<T>(), g.const_data_ptr<T>(), m.mutable_data_ptr<T>(),
                            v.mutable_data_ptr<T>(), p.numel(), hyper);
  });
}

double squared_norm(const at::Tensor& x) {
  return dispatch(x.scalar_type(), [&](auto type) {
    using T = decltype(type);
    return reference::squared_norm<T>(x.const_data_ptr<T>(), x.numel());
  });
}

}  // namespace

const std::vector<Implementation>& implementations() {
  static const std::vector<Implementation> list = {
      {"reference",
       c10::kCPU,
       {at::kFloat, at::kDouble},
       top_k,
       decode,
       decode_loss,
       decode_backward,
       scatter,
       adam,
       squared_norm},
      public_implementation("cpu", c10::kCPU, {at::kFloat, at::kDouble, at::kBFloat16})};
  return list;
}

}  // namespace lorsa::test
