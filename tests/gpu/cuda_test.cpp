#include <ATen/ATen.h>

#include <chrono>

#include "contract/implementations.h"
#include "contract/samples.h"
#include "core/clock.h"
#include "core/device_clock.h"
#include "kernels/cuda_backend.h"
#include "lorsa/core/device.h"
#include "support/tensors.h"
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

TEST_CASE("decode's loss and backward on CUDA give the same bits every time", "[gpu][decode]") {
  const DecodeSample sample({512, 300, 64, 576}, at::kFloat, c10::Device(c10::kCUDA, 0), 73);
  const auto run = [&] {
    const kernels::DecodeLoss loss =
        kernels::sparse_decode_loss(sample.kept, sample.W_O_HD, sample.b_D, sample.target_PD,
                                    sample.scored_P, sample.grad_scale, Selection::kSigned);
    const kernels::DecodeGradients gradients =
        kernels::sparse_decode_backward(sample.kept, loss.grad_y_PD, 300);
    return std::vector<at::Tensor>{loss.grad_y_PD, loss.grad_value_PK, loss.squared_error,
                                   gradients.grad_W_O_HD, gradients.grad_b_D};
  };
  const std::vector<at::Tensor> first = run();
  for (int i = 0; i < 5; ++i) {
    const std::vector<at::Tensor> again = run();
    for (size_t j = 0; j < first.size(); ++j) {
      REQUIRE(at::equal(first[j], again[j]));
    }
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

TEST_CASE("a device's clock gives each part its time, whenever the host asked for it", "[gpu]") {
  const c10::Device device(c10::kCUDA, 0);
  const at::Tensor a = at::randn({4096, 4096}, at::TensorOptions(device));
  at::Tensor b = at::mm(a, a);
  synchronize(device);
  const auto begin = std::chrono::steady_clock::now();
  const std::unique_ptr<DeviceClock> clock = make_device_clock(device, 3);
  const auto work = [&](int products, size_t part) {
    for (int i = 0; i < products; ++i) {
      b = at::mm(a, a);
    }
    clock->lap(part);
  };
  work(20, 0);
  work(5, 1);
  work(0, 2);
  work(20, 0);
  const std::vector<double> seconds = clock->take();
  CHECK(seconds[0] > 4 * seconds[1]);
  CHECK(seconds[1] > 0.0);
  CHECK(seconds[2] < seconds[1]);
  CHECK(seconds[0] + seconds[1] + seconds[2] <= seconds_since(begin));
  CHECK(clock->take()[0] == 0.0);
}

TEST_CASE("the product of gathered rows on CUDA is that in double, with the same bits every time",
          "[gpu][kernels]") {
  struct Case {
    int64_t P, K, S, E, D;
  };

  const c10::Device cuda(c10::kCUDA, 0);
  // Tiles of 128 and 64 rows, of 256 columns and a part of them, lists of all lengths from 0.
  for (const Case& c : {Case{3000, 4, 16, 128, 1024}, Case{700, 2, 8, 64, 272},
                        Case{90, 1, 4, 48, 80}, Case{40, 3, 64, 192, 96}}) {
    INFO("P " << c.P << ", S " << c.S << ", E " << c.E << ", D " << c.D);
    at::manual_seed(75);
    // Low QK heads more often than high ones.
    const at::Tensor head_PK =
        (at::rand({c.P, c.K}).square() * static_cast<double>(2 * c.S)).to(at::kInt);
    at::Tensor grad_PK = at::randn({c.P, c.K}).to(at::kBFloat16);
    grad_PK.masked_fill_(at::rand({c.P, c.K}) < 0.3, 0.0);
    const at::Tensor acts_PS = at::zeros({c.P, c.S})
                                   .scatter_add_(1, at::floor_divide(head_PK.to(at::kLong), 2),
                                                 grad_PK.ne(0).to(at::kFloat))
                                   .ne(0);
    const at::Tensor outside = acts_PS.logical_not().unsqueeze(2);
    const at::Tensor grad = at::randn({c.P, c.S, c.E}).to(at::kBFloat16);
    const at::Tensor x = at::randn({c.P, c.D}).to(at::kBFloat16);
    const at::Tensor grad_on_device = grad.masked_fill(outside, std::nan("")).to(cuda);
    const at::Tensor x_on_device = x.to(cuda);
    const auto run = [&] {
      return kernels::product_tn_heads(
          grad_on_device, x_on_device,
          kernels::cuda_backend().query_rows(grad_PK.to(cuda), head_PK.to(cuda), c.S, 2));
    };
    const kernels::LinearGradients found = run();
    const at::Tensor exact = grad.to(at::kDouble).masked_fill(outside, 0.0).flatten(1);
    CHECK(relative_error(found.weight_NK, at::mm(exact.t(), x.to(at::kDouble))) < 1e-5);
    CHECK(relative_error(found.bias_N, exact.sum(0)) < 1e-5);
    for (int i = 0; i < 5; ++i) {
      const kernels::LinearGradients again = run();
      REQUIRE(at::equal(again.weight_NK, found.weight_NK));
      REQUIRE(at::equal(again.bias_N, found.bias_N));
    }
  }
}
