#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "contract/samples.h"
#include "kernels/product.h"
#include "lorsa/core/error.h"
#include "support/test.h"

// Hidden: run with `test_contract '[benchmark]'`. Prints times and bandwidths, asserts only that
// the kernels ran.

using namespace lorsa;
using namespace lorsa::test;
using kernels::Selection;

namespace {

/// The best of several runs, in seconds: the machine is shared.
double best_seconds(const std::function<void()>& run, int repeats = 30) {
  double best = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

void report(const char* what, double bytes, const std::function<void()>& run) {
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    run();
    const double seconds = best_seconds(run);
    std::printf("%-34s %d thread%s %9.3f ms %8.1f GB/s\n", what, threads, threads == 1 ? " " : "s",
                seconds * 1e3, bytes / seconds * 1e-9);
  }
}

void report_flops(const std::string& what, double flops, const std::function<void()>& run) {
  at::set_num_threads(2);
  run();
  const double seconds = best_seconds(run, 9);
  std::printf("%-34s 2 threads %9.3f ms %8.1f GFLOP/s\n", what.c_str(), seconds * 1e3,
              flops / seconds * 1e-9);
}

}  // namespace

TEST_CASE("times of the sparse kernels", "[.][benchmark]") {
  const double P = 1024;
  const double D = 576;
  const double H = 2304;
  const double K = 32;
  const at::Tensor z = normal({1024, 2304}, 61, at::kFloat, at::kCPU);
  const at::Tensor norm = normal({2304}, 62, at::kFloat, at::kCPU).abs();
  DecodeSample sample({1024, 2304, 32, 576}, at::kFloat, at::kCPU, 63);
  sample.scored_P.fill_(true);
  kernels::TopK kept = kernels::top_k_heads(z, norm, 32, Selection::kPositive);
  const at::Tensor score = z.clamp_min(0) * norm;
  kernels::DecodeLoss loss;
  kernels::DecodeGradients gradients;
  std::tuple<at::Tensor, at::Tensor> by_aten;

  report("top_k_heads", P * H * 4,
         [&] { kept = kernels::top_k_heads(z, norm, 32, Selection::kPositive); });
  report("at::topk of ready scores", P * H * 4, [&] { by_aten = at::topk(score, 32); });
  report("relu, mul, at::topk, gather", P * H * 4, [&] {
    const at::Tensor activation = z.clamp_min(0);
    by_aten = at::topk(activation * norm, 32);
    kept.value_PK = activation.gather(1, std::get<1>(by_aten));
  });
  // Bytes that the sums read row by row, most of them from cache.
  report("sparse_decode_loss", (2 * P * K * D + 3 * P * D) * 4, [&] {
    loss = kernels::sparse_decode_loss(sample.kept, sample.W_O_HD, sample.b_D, sample.target_PD,
                                       sample.scored_P, 1e-6, Selection::kPositive);
  });
  report("sparse_decode_backward", (P * K * D + H * D) * 4,
         [&] { gradients = kernels::sparse_decode_backward(sample.kept, loss.grad_y_PD, 2304); });
  report("dense product [P,H] x [H,D]", (P * H + H * D + P * D) * 4,
         [&] { loss.grad_y_PD = z.matmul(sample.W_O_HD); });

  const int64_t size = 4 * 2304 * 576;
  at::Tensor parameter = at::randn({size});
  const at::Tensor gradient = at::randn({size});
  at::Tensor first = at::zeros({size});
  at::Tensor second = at::zeros({size});
  at::Tensor norm_squared;
  report("adam_step_ on 5.3 M", static_cast<double>(size) * 7 * 4,
         [&] { kernels::adam_step_(parameter, gradient, first, second, {}); });
  report("squared_norm of 5.3 M", static_cast<double>(size) * 4,
         [&] { norm_squared = kernels::squared_norm(gradient); });
  report("copy of 5.3 M", static_cast<double>(size) * 2 * 4, [&] { first.copy_(gradient); });
  REQUIRE(norm_squared.item<double>() > 0.0);
  REQUIRE(gradients.grad_W_O_HD.defined());
}

TEST_CASE("times of the decode's backward with a head that always acts", "[.][benchmark]") {
  const int64_t P = 4096;
  const int64_t H = 6144;
  const int64_t D = 768;
  const at::Tensor grad_y = normal({P, D}, 64, at::kFloat, at::kCPU);
  kernels::DecodeGradients gradients;
  for (const int64_t K : {2, 8, 64}) {
    kernels::TopK even = kernels::top_k_heads(normal({P, H}, 65, at::kFloat, at::kCPU),
                                              at::ones({H}), K, Selection::kPositive);
    kernels::TopK skewed = even;
    skewed.head_PK = even.head_PK.clone();
    skewed.head_PK.select(1, 0).fill_(7);
    for (const int threads : {1, 2}) {
      at::set_num_threads(threads);
      std::array<std::vector<double>, 2> seconds;
      for (int i = 0; i < 31; ++i) {
        for (const bool skew : {false, true}) {
          seconds[skew ? 1 : 0].push_back(best_seconds(
              [&] { gradients = kernels::sparse_decode_backward(skew ? skewed : even, grad_y, H); },
              1));
        }
      }
      for (std::vector<double>& times : seconds) {
        std::sort(times.begin(), times.end());
      }
      const double median = seconds[0][15];
      std::printf(
          "sparse_decode_backward, K %2ld, %d thread%s %9.3f ms, a head at all positions: "
          "%9.3f ms, ratio %.2f\n",
          K, threads, threads == 1 ? " " : "s", median * 1e3, seconds[1][15] * 1e3,
          seconds[1][15] / median);
      REQUIRE(gradients.grad_W_O_HD.defined());
    }
  }
}

TEST_CASE("times of the large products", "[.][benchmark]") {
  struct Case {
    int64_t P, D, N;
  };

  for (const Case& c : {Case{1024, 576, 2304}, Case{1024, 768, 6144}, Case{2048, 1024, 16384}}) {
    const at::Tensor x = at::randn({c.P, c.D});
    const at::Tensor weight = at::randn({c.N, c.D});
    const at::Tensor bias = at::randn({c.N});
    const at::Tensor grad = at::randn({c.P, c.N});
    const at::Tensor grad_NP = grad.t().contiguous();
    const double flops = 2.0 * static_cast<double>(c.P) * static_cast<double>(c.D * c.N);
    const std::string size = formatted(" {} x {}", c.N, c.D);
    at::Tensor y;
    report_flops("addmm" + size, flops, [&] { y = at::addmm(bias, x, weight.t()); });
    report_flops("product_nt" + size, flops, [&] { y = kernels::product_nt(x, weight, bias); });
    report_flops("mm, sum" + size, flops, [&] {
      y = at::mm(grad.t(), x);
      grad.sum(0);
    });
    report_flops("product_tn" + size, flops, [&] { y = kernels::product_tn(grad, x).weight_NK; });
    report_flops("product_tn, transposed" + size, flops,
                 [&] { y = kernels::product_tn(grad_NP.t(), x).weight_NK; });
    REQUIRE(y.defined());
  }
}
