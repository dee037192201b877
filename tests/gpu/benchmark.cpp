#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>

#include "kernels/cuda_backend.h"
#include "lorsa/kernels/adam.h"
#include "lorsa/kernels/sparse.h"
#include "support/test.h"

// Hidden: run with `test_gpu '[benchmark]'`. Prints times, and bandwidths beside that of a copy;
// asserts only that the kernels ran.

using namespace lorsa;
using kernels::Selection;

namespace {

// Long against a launch, short against the clock's drift; the best round is the least disturbed.
constexpr int kCalls = 10;
constexpr int kRounds = 5;

void synchronize() {
  c10::impl::VirtualGuardImpl(c10::kCUDA).synchronizeDevice(0);
}

double best_seconds(const std::function<void()>& call) {
  call();
  double best = 1e30;
  for (int round = 0; round < kRounds; ++round) {
    synchronize();
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i) {
      call();
    }
    synchronize();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    best = std::min(best, time.count() / kCalls);
  }
  return best;
}

/// The rows of the table; bandwidths as shares of the first one's.
class Table {
 public:
  Table() { std::printf("| kernel | ms | GB/s | share of copy |\n|---|---|---|---|\n"); }

  void row(const std::string& what, double bytes, const std::function<void()>& call) {
    const double seconds = best_seconds(call);
    const double rate = bytes / seconds;
    copy_rate_ = copy_rate_ == 0.0 ? rate : copy_rate_;
    std::printf("| %s | %.3f | %.0f | %.2f |\n", what.c_str(), seconds * 1e3, rate * 1e-9,
                rate / copy_rate_);
  }

 private:
  double copy_rate_ = 0.0;
};

}  // namespace

// Llama-3.1-8B's size: D 4096, H 32768, K 64, 4096 positions.
TEST_CASE("times of the CUDA kernels", "[.][benchmark]") {
  const int64_t P = 4096;
  const int64_t H = 32768;
  const int64_t D = 4096;
  const int64_t K = 64;
  const auto p = static_cast<double>(P);
  const auto h = static_cast<double>(H);
  const auto d = static_cast<double>(D);
  const auto k = static_cast<double>(K);
  const at::TensorOptions float32 = at::TensorOptions(at::kFloat).device(at::kCUDA);
  const at::Tensor copied = at::zeros({int64_t{1} << 28}, float32);
  const at::Tensor copy = at::empty_like(copied);
  Table table;
  table.row("copy of 1 GiB", 2.0 * 4.0 * static_cast<double>(copied.numel()),
            [&] { copy.copy_(copied); });

  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const std::string name = dtype == at::kFloat ? " float32" : " bfloat16";
    const double bytes = dtype == at::kFloat ? 4.0 : 2.0;
    const at::TensorOptions options = float32.dtype(dtype);
    at::Tensor z = at::randn({P, H}, options);
    const at::Tensor norm = at::rand({H}, float32);
    const at::Tensor W_O = at::randn({H, D}, options);
    const at::Tensor b_D = at::randn({D}, float32);
    const at::Tensor target = at::randn({P, D}, options);
    const at::Tensor scored = at::ones({P}, float32.dtype(at::kBool));
    kernels::TopK kept;
    kernels::DecodeLoss loss;
    kernels::DecodeGradients gradients;
    at::Tensor spread;
    table.row("top_k_heads" + name, p * h * bytes,
              [&] { kept = kernels::top_k_heads(z, norm, K, Selection::kPositive); });
    // W_O's rows once per use, as in test_contract's benchmark: a part of them comes from cache.
    table.row("sparse_decode_loss" + name, (p * k * d + 2 * p * d) * bytes, [&] {
      loss =
          kernels::sparse_decode_loss(kept, W_O, b_D, target, scored, 1e-6, Selection::kPositive);
    });
    table.row("sparse_decode_backward" + name, p * k * d * bytes + h * d * 4.0,
              [&] { gradients = kernels::sparse_decode_backward(kept, loss.grad_y_PD, H); });
    // Its list is as long as all positions.
    z.select(1, H / 2).fill_(100.0);
    const kernels::TopK skewed = kernels::top_k_heads(z, norm, K, Selection::kPositive);
    table.row("sparse_decode_backward" + name + ", one head always acts",
              p * k * d * bytes + h * d * 4.0,
              [&] { gradients = kernels::sparse_decode_backward(skewed, loss.grad_y_PD, H); });
    table.row("scatter_kept" + name, p * h * bytes,
              [&] { spread = kernels::scatter_kept(kept.value_PK, kept.head_PK, H); });
    REQUIRE(gradients.grad_W_O_HD.defined());
    REQUIRE(spread.defined());
  }

  const double size = h * d;
  at::Tensor parameter = at::randn({H, D}, float32);
  const at::Tensor gradient = at::randn({H, D}, float32);
  at::Tensor first = at::zeros({H, D}, float32);
  at::Tensor second = at::zeros({H, D}, float32);
  const at::Tensor narrow = at::empty({H, D}, float32.dtype(at::kBFloat16));
  at::Tensor norm_squared;
  table.row("adam_step_ with bfloat16 copy", size * (7 * 4 + 2),
            [&] { kernels::adam_step_(parameter, gradient, first, second, {}, narrow); });
  table.row("squared_norm", size * 4, [&] { norm_squared = kernels::squared_norm(gradient); });
  REQUIRE(norm_squared.item<double>() > 0.0);
}

// Where gathers_query_rows() should draw its line. W_Q's gradient of the same model, 65,536
// positions: 17.6 TFLOP of which the kept heads leave K / S at most.
TEST_CASE("times of W_Q's gradient on CUDA by the number of kept heads", "[.][benchmark]") {
  const int64_t P = 65536;
  const int64_t S = 256;
  const int64_t E = 128;
  const int64_t D = 4096;
  const at::TensorOptions bfloat16 = at::TensorOptions(at::kBFloat16).device(at::kCUDA);
  const at::Tensor grad = at::randn({P, S, E}, bfloat16);
  const at::Tensor x = at::randn({P, D}, bfloat16);
  const double flops = 2.0 * static_cast<double>(P * S) * static_cast<double>(E * D);
  std::printf("| W_Q's gradient | ms | TFLOP/s |\n|---|---|---|\n");
  kernels::LinearGradients found;
  const double dense = best_seconds([&] { found = kernels::product_tn_heads(grad, x); });
  std::printf("| dense | %.2f | %.0f |\n", dense * 1e3, flops / dense * 1e-12);
  for (const int64_t K : {16, 32, 64, 128}) {
    // A kept head for each of K QK heads, whose places differ from position to position.
    const at::Tensor head_PK = at::rand({P, S}, bfloat16.dtype(at::kFloat))
                                   .argsort(/*dim=*/int64_t{1})
                                   .narrow(1, 0, K)
                                   .to(at::kInt)
                                   .contiguous();
    const at::Tensor grad_PK = at::ones({P, K}, bfloat16);
    const auto list = [&] { return kernels::cuda_backend().query_rows(grad_PK, head_PK, S, 1); };
    const kernels::QueryRows rows = list();
    const double seconds = best_seconds([&] { found = kernels::product_tn_heads(grad, x, rows); });
    const double share = static_cast<double>(K) / static_cast<double>(S);
    std::printf("| K / S %.3f | %.2f and %.2f for the lists | %.0f |\n", share, seconds * 1e3,
                best_seconds(list) * 1e3, share * flops / seconds * 1e-12);
    REQUIRE(rows.count_S.sum().item<int64_t>() == P * K);
    REQUIRE(found.weight_NK.defined());
  }
}
