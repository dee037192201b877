#include <ATen/ATen.h>

#include "contract/implementations.h"
#include "contract/samples.h"
#include "support/test.h"

// The contract suites on the CUDA kernels, and what only concerns them.

using namespace lorsa;
using namespace lorsa::test;
using kernels::Selection;

const std::vector<Implementation>& lorsa::test::implementations() {
  static const std::vector<Implementation> list = {public_implementation(
      "cuda", c10::Device(c10::kCUDA, 0), {at::kFloat, at::kDouble, at::kBFloat16})};
  return list;
}

TEST_CASE("CUDA and CPU keep the same heads", "[gpu][top_k]") {
  const at::Tensor z = normal({64, 32768}, 71, at::kFloat, at::kCPU);
  const at::Tensor norm = normal({32768}, 72, at::kFloat, at::kCPU).abs();
  const kernels::TopK host = kernels::top_k_heads(z, norm, 64, Selection::kPositive);
  const kernels::TopK device =
      kernels::top_k_heads(z.cuda(), norm.cuda(), 64, Selection::kPositive);
  REQUIRE(at::equal(device.head_PK.cpu(), host.head_PK));
  REQUIRE(at::equal(device.value_PK.cpu(), host.value_PK));
}

TEST_CASE("the CUDA backward gives the same bits every time", "[gpu][decode]") {
  const DecodeSample sample({512, 300, 64, 576}, at::kFloat, c10::Device(c10::kCUDA, 0), 73);
  const at::Tensor grad_y = normal({512, 576}, 74, at::kFloat, c10::Device(c10::kCUDA, 0));
  const auto run = [&] {
    return kernels::sparse_decode_backward(sample.kept, sample.W_O_HD, grad_y, Selection::kSigned);
  };
  const kernels::DecodeGradients first = run();
  for (int i = 0; i < 5; ++i) {
    const kernels::DecodeGradients again = run();
    REQUIRE(at::equal(first.grad_value_PK, again.grad_value_PK));
    REQUIRE(at::equal(first.grad_W_O_HD, again.grad_W_O_HD));
    REQUIRE(at::equal(first.grad_b_D, again.grad_b_D));
  }
}

TEST_CASE("adam_step_ on CUDA rounds the parameter into a bfloat16 copy", "[gpu][adam]") {
  const at::TensorOptions options = at::TensorOptions(at::kFloat).device(at::kCUDA);
  for (const int64_t size : {4096, 4097}) {
    at::Tensor parameter = at::randn({size}, options);
    at::Tensor first = at::zeros_like(parameter);
    at::Tensor second = at::zeros_like(parameter);
    const at::Tensor copy = at::zeros({size}, options.dtype(at::kBFloat16));
    kernels::adam_step_(parameter, at::randn({size}, options), first, second, {}, copy);
    REQUIRE(at::equal(copy, parameter.to(at::kBFloat16)));
  }
}
