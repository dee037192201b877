// What LibTorch knows of CUDA behind what a program may do before it first asks lorsa for a device.
// cuda_first OPERATION ends with 0 if it knows.
#include <ATen/ATen.h>
#include <ATen/Context.h>

#include <iostream>
#include <string>

#include "lorsa/core/device.h"

namespace {

void operate(const std::string& operation) {
  const at::Tensor x = at::ones({1, 1, 4, 4});
  if (operation == "seed") {
    at::manual_seed(1);
  } else if (operation == "autograd") {
    (x.clone().requires_grad_() * 2).sum().backward();
  } else if (operation == "pinned") {
    static_cast<void>(x.is_pinned());
  } else if (operation == "convolution") {
    static_cast<void>(at::conv2d(x, at::ones({1, 1, 2, 2})));
  }
}

}  // namespace

int main(int argc, char** argv) {
  operate(argc > 1 ? argv[1] : "");
  const c10::Device device = lorsa::resolve_device("cpu");
  const bool known = at::globalContext().hasCUDART();
  std::cout << device << ": CUDA is " << (known ? "known" : "not known") << '\n';
  return known ? 0 : 1;
}
