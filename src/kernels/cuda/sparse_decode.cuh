#pragma once

#include "kernels/cuda/common.cuh"
#include "kernels/shapes.h"
#include "lorsa/kernels/types.h"

// T is float, double or bfloat16; biases and weight gradients are kept in Sum<T>. All arrays are
// dense; rows whose width and alignment allow it are moved 16 bytes at a time. Heads must lie in
// [0, H): nothing checks them here.

namespace lorsa::kernels::cuda {

template <typename T>
struct DecodeInput {
  const T* value_PK = nullptr;
  const int32_t* head_PK = nullptr;
  const T* W_O_HD = nullptr;
  const Sum<T>* b_D = nullptr;  ///< or null
  DecodeShape shape;
};

template <typename T>
struct LossInput {
  const T* target_PD = nullptr;
  const uint8_t* scored_P = nullptr;
  double grad_scale = 0.0;
  Selection selection = Selection::kPositive;
};

template <typename T>
struct LossOutput {
  T* grad_y_PD = nullptr;
  T* grad_value_PK = nullptr;
  double* squared_error_P = nullptr;
};

/// y_PD. One block per position, threads over D, sums in the order of K.
template <typename T>
cudaError_t decode(const DecodeInput<T>& in, T* y_PD, cudaStream_t stream);

/// grad_y_PD, grad_value_PK from grad_y as it is stored, and *squared_error (device, as all of
/// `out`). One block per position, then one block that sums the positions in a fixed order. y sums
/// in the order of K; a kept value's product over D is summed by 8 to 32 lanes, each its columns in
/// ascending order, then in a tree. How columns are dealt to threads depends on K and on whether
/// rows are read by packs: so do the last bits of grad_value and squared_error.
template <typename T>
cudaError_t decode_loss(const DecodeInput<T>& in,
                        const LossInput<T>& loss,
                        const LossOutput<T>& out,
                        double* squared_error,
                        cudaStream_t stream);

template <typename T>
struct BackwardInput {
  const T* value_PK = nullptr;
  const int32_t* head_PK = nullptr;
  const T* grad_y_PD = nullptr;
  DecodeShape shape;
};

template <typename T>
struct BackwardOutput {
  Sum<T>* grad_W_O_HD = nullptr;
  Sum<T>* grad_b_D = nullptr;
};

/// Bytes of device scratch that decode_backward needs.
template <typename T>
size_t decode_backward_workspace_bytes(DecodeShape shape);

/// The gradients of W_O and b_D. Entries are sorted by head (stable, so a head's positions ascend;
/// entries of value 0 go nowhere) and cut into parts of equal length, a block each, so that a head
/// that acts everywhere takes no longer than others; heads that reach over an edge are put together
/// in a second pass: no atomics, the same bits every time. `workspace` is aligned to 256 bytes. P *
/// K must be below 2^31.
template <typename T>
cudaError_t decode_backward(const BackwardInput<T>& in,
                            const BackwardOutput<T>& out,
                            void* workspace,
                            cudaStream_t stream);

/// out_PH: grad_PK where it is not 0 at head_PK, 0 elsewhere. One block per position: zeroes its
/// row, then scatters.
template <typename T>
cudaError_t scatter_kept(
    const T* grad_PK, const int32_t* head_PK, TopKShape shape, T* out_PH, cudaStream_t stream);

}  // namespace lorsa::kernels::cuda
