#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "contract/samples.h"
#include "emulation/emulated_cuda.h"
#include "emulation/grid.h"
#include "emulation/memory.h"
#include "support/test.h"

// What only concerns the CUDA kernels, emulated.

using namespace lorsa;
using namespace lorsa::test;
using emulation::EmulatedCuda;
using kernels::Selection;

TEST_CASE("emulated kernels compute what CUDA kernels would, and only then", "[emulation]") {
  const at::Tensor z = normal({3, 40}, 71, at::kFloat, at::kCPU);
  const at::Tensor norm = at::ones({40});
  const int64_t before = emulation::counts().launches;
  REQUIRE(kernels::top_k_heads(z, norm, 4, Selection::kPositive).head_PK.defined());
  REQUIRE(emulation::counts().launches == before);
  {
    const EmulatedCuda device;
    REQUIRE(kernels::top_k_heads(z, norm, 4, Selection::kPositive).head_PK.defined());
  }
  REQUIRE(emulation::counts().launches == before + 1);
}

TEST_CASE("emulated CUDA and the CPU keep the same heads", "[emulation][top_k]") {
  const at::Tensor z = normal({4, 32768}, 71, at::kFloat, at::kCPU);
  const at::Tensor norm = normal({32768}, 72, at::kFloat, at::kCPU).abs();
  const kernels::TopK host = kernels::top_k_heads(z, norm, 64, Selection::kPositive);
  const EmulatedCuda device;
  const kernels::TopK ours = kernels::top_k_heads(z, norm, 64, Selection::kPositive);
  REQUIRE(at::equal(ours.head_PK, host.head_PK));
  REQUIRE(at::equal(ours.value_PK, host.value_PK));
}

TEST_CASE("a head that acts everywhere makes no block of the decode's backward longer",
          "[emulation][decode]") {
  if (!emulation::accesses_are_checked()) {
    SUCCEED("in this build accesses are not counted");
    return;
  }
  DecodeSample sample({4096, 64, 4, 16}, at::kFloat, at::kCPU, 75);
  sample.kept.head_PK.select(1, 0).fill_(7);
  const at::Tensor grad_y = normal({4096, 16}, 76, at::kFloat, at::kCPU);
  const EmulatedCuda device;
  REQUIRE(kernels::sparse_decode_backward(sample.kept, grad_y, 64).grad_W_O_HD.defined());
  // 16,384 entries in parts of 1,024. Values are not 0, so that all blocks have work; a block's
  // accesses grow with its entries.
  const std::vector<int64_t> accesses = emulation::accesses_of_blocks("grad_W_O_kernel<");
  REQUIRE(accesses.size() == 16);
  const double mean =
      static_cast<double>(std::accumulate(accesses.begin(), accesses.end(), int64_t{0})) /
      static_cast<double>(accesses.size());
  REQUIRE(static_cast<double>(*std::max_element(accesses.begin(), accesses.end())) <= 4 * mean);
}

TEST_CASE("adam_step_ emulated rounds the parameter into a bfloat16 copy", "[emulation][adam]") {
  for (const int64_t size : {1, 4096, 4097}) {
    for (const int64_t begin : {0, 1}) {
      at::Tensor parameter = normal({size}, 73, at::kFloat, at::kCPU);
      at::Tensor first = at::zeros_like(parameter);
      at::Tensor second = at::zeros_like(parameter);
      const at::Tensor copy = at::zeros({begin + size}, at::kBFloat16).slice(0, begin);
      const EmulatedCuda device;
      kernels::adam_step_(parameter, normal({size}, 74, at::kFloat, at::kCPU), first, second, {},
                          copy);
      REQUIRE(at::equal(copy, parameter.to(at::kBFloat16)));
    }
  }
}
