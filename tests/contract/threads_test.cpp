#include <ATen/Parallel.h>

#include "contract/samples.h"
#include "lorsa/kernels/adam.h"
#include "support/test.h"

using namespace lorsa;
using namespace lorsa::test;
using kernels::Selection;

namespace {

/// Everything the CPU kernels give for one set of inputs.
std::vector<at::Tensor> run_all(at::ScalarType dtype, int threads) {
  const int before = at::get_num_threads();
  at::set_num_threads(threads);
  DecodeSample sample({2500, 512, 33, 130}, dtype, at::kCPU, 51);
  sample.kept.head_PK.select(1, 0).fill_(7);  // acts everywhere
  const kernels::TopK kept =
      kernels::top_k_heads(normal({700, 2304}, 52, dtype, at::kCPU),
                           normal({2304}, 53, dtype, at::kCPU).abs(), 32, Selection::kPositive);
  const kernels::DecodeLoss loss =
      kernels::sparse_decode_loss(sample.kept, sample.W_O_HD, sample.b_D, sample.target_PD,
                                  sample.scored_P, 0.1, Selection::kPositive);
  const kernels::DecodeGradients gradients =
      kernels::sparse_decode_backward(sample.kept, loss.grad_y_PD, 512);
  at::Tensor parameter = normal({300001}, 54, dtype, at::kCPU);
  const at::Tensor gradient = normal({300001}, 55, dtype, at::kCPU);
  at::Tensor first = gradient * 0.1;
  at::Tensor second = gradient.square();
  const at::Tensor norm = kernels::squared_norm(parameter);
  kernels::adam_step_(parameter, gradient, first, second, {});
  at::set_num_threads(before);
  return {kept.value_PK,
          kept.head_PK,
          kernels::sparse_decode(sample.kept, sample.W_O_HD, sample.b_D),
          loss.grad_y_PD,
          loss.squared_error,
          loss.grad_value_PK,
          gradients.grad_W_O_HD,
          gradients.grad_b_D,
          parameter,
          first,
          second,
          norm};
}

}  // namespace

TEST_CASE("the CPU kernels give the same bits for every thread count", "[kernels][threads]") {
  const at::ScalarType dtype = GENERATE(at::kFloat, at::kDouble);
  const std::vector<at::Tensor> alone = run_all(dtype, 1);
  for (const int threads : {2, 3}) {
    const std::vector<at::Tensor> shared = run_all(dtype, threads);
    REQUIRE(alone.size() == shared.size());
    for (size_t i = 0; i < alone.size(); ++i) {
      CAPTURE(threads, i);
      REQUIRE(at::equal(alone[i], shared[i]));
    }
  }
}
