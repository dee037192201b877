// The list of implementations of test_emulation: the CUDA kernels behind the public functions,
// every call in several orders of threads that must give the same bits.
#include <ATen/ATen.h>

#include <cstring>
#include <tuple>
#include <utility>

#include "contract/implementations.h"
#include "emulation/emulated_cuda.h"
#include "emulation/orders.h"

namespace lorsa::test {
namespace {

using emulation::EmulatedCuda;

/// NaN equals itself.
bool same(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.contiguous();
  const at::Tensor y = b.contiguous();
  return x.sizes() == y.sizes() &&
         std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

bool same(double a, double b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

bool same(const kernels::TopK& a, const kernels::TopK& b) {
  return same(a.value_PK, b.value_PK) && same(a.head_PK, b.head_PK);
}

bool same(const kernels::DecodeLoss& a, const kernels::DecodeLoss& b) {
  return same(a.grad_y_PD, b.grad_y_PD) && same(a.grad_value_PK, b.grad_value_PK) &&
         same(a.squared_error, b.squared_error);
}

bool same(const kernels::DecodeGradients& a, const kernels::DecodeGradients& b) {
  return same(a.grad_W_O_HD, b.grad_W_O_HD) && same(a.grad_b_D, b.grad_b_D);
}

bool same(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const at::Tensor& x, const at::Tensor& y) { return same(x, y); });
}

template <typename Run>
auto emulated(const Run& run) {
  return emulation::in_orders(
      emulation::num_orders(),
      [&] {
        const EmulatedCuda device;
        return run();
      },
      [](const auto& a, const auto& b) { return same(a, b); });
}

/// The same function on the emulated device.
template <typename Function>
Function emulated_function(Function function) {
  return
      [function](auto&&... arguments) { return emulated([&] { return function(arguments...); }); };
}

/// For functions that change their arguments: every order starts from the same.
template <typename Change>
void change_emulated(const std::vector<at::Tensor*>& tensors, const Change& change) {
  std::vector<at::Tensor> before;
  for (const at::Tensor* tensor : tensors) {
    before.push_back(tensor->clone());
  }
  emulated([&] {
    std::vector<at::Tensor> after;
    for (size_t i = 0; i < tensors.size(); ++i) {
      tensors[i]->copy_(before[i]);
    }
    change();
    for (const at::Tensor* tensor : tensors) {
      after.push_back(tensor->clone());
    }
    return after;
  });
}

Implementation emulated_cuda() {
  Implementation result =
      public_implementation("cuda, emulated", c10::kCPU, {at::kFloat, at::kDouble, at::kBFloat16});
  result.top_k = emulated_function(result.top_k);
  result.decode = emulated_function(result.decode);
  result.decode_loss = emulated_function(result.decode_loss);
  result.decode_backward = emulated_function(result.decode_backward);
  result.scatter = emulated_function(result.scatter);
  result.squared_norm = emulated_function(result.squared_norm);
  result.adam = [adam = result.adam](at::Tensor& p, const at::Tensor& g, at::Tensor& m,
                                     at::Tensor& v, const kernels::AdamHyper& hyper) {
    change_emulated({&p, &m, &v}, [&] { adam(p, g, m, v, hyper); });
  };
  result.rope = [rope = result.rope](at::Tensor& x, const kernels::RopeSpec& spec,
                                     const kernels::RopeTable& table,
                                     kernels::RopeDirection direction) {
    change_emulated({&x}, [&] { rope(x, spec, table, direction); });
  };
  return result;
}

}  // namespace

const std::vector<Implementation>& implementations() {
  static const std::vector<Implementation> list = {emulated_cuda()};
  return list;
}

}  // namespace lorsa::test
