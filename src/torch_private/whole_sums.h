#pragma once

#include <ATen/Context.h>

namespace lorsa::torch_private {

/// While it lives, bfloat16 products on CUDA that cuBLAS cuts along their terms add the parts in
/// float32; LibTorch lets it round them to bfloat16 first. Read when a product is launched.
///
/// at::Context's setting, checked with LibTorch 2.11. If it goes: what sets
/// CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION.
class WholeSums {
 public:
  WholeSums() : before_(at::globalContext().allowBF16ReductionCuBLAS()) {
    at::globalContext().setAllowBF16ReductionCuBLAS(/*allow_reduced_precision=*/false);
  }

  ~WholeSums() {
    using Option = at::CuBLASReductionOption;
    at::globalContext().setAllowBF16ReductionCuBLAS(
        before_ == Option::AllowReducedPrecisionWithSplitK,
        before_ != Option::DisallowReducedPrecisionDisallowSplitK);
  }

  WholeSums(const WholeSums&) = delete;
  WholeSums& operator=(const WholeSums&) = delete;

 private:
  at::CuBLASReductionOption before_;
};

}  // namespace lorsa::torch_private
