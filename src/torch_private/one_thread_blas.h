#pragma once

// MKL, which the wheel's LibTorch holds and exports; another BLAS leaves it null. Checked with
// LibTorch 2.11. If it goes: the thread setting of the BLAS that comes instead.
extern "C" int MKL_Set_Num_Threads_Local(int num_threads) __attribute__((weak));

namespace lorsa::torch_private {

/// While it lives, LibTorch's BLAS (MKL) computes the products of this thread as one thread.
///
/// Otherwise a product called inside a parallel region is cut as if for all threads of the pool,
/// and its last bits depend on their number. oneDNN's own kernel, which takes its place on
/// processors with AVX2, never does that.
class OneThreadBlas {
 public:
  OneThreadBlas()
      : before_(MKL_Set_Num_Threads_Local != nullptr ? MKL_Set_Num_Threads_Local(1) : 0) {}

  ~OneThreadBlas() {
    if (MKL_Set_Num_Threads_Local != nullptr) {
      MKL_Set_Num_Threads_Local(before_);
    }
  }

  OneThreadBlas(const OneThreadBlas&) = delete;
  OneThreadBlas& operator=(const OneThreadBlas&) = delete;

 private:
  int before_;  ///< 0: as many as the process has
};

}  // namespace lorsa::torch_private
