#include "model/precision.h"

#include <ATen/ATen.h>

namespace lorsa::model {

at::Tensor rounded(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.to(at::kBFloat16).to(tensor.scalar_type()) : tensor;
}

LorsaWeights rounded(const LorsaWeights& weights) {
  LorsaWeights copies = weights;
  for (at::Tensor* weight :
       {&copies.W_Q, &copies.W_K, &copies.W_V, &copies.W_O, &copies.virtual_k}) {
    *weight = rounded(*weight);
  }
  return copies;
}

}  // namespace lorsa::model
