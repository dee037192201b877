#pragma once

// The definition of right: plain loops that read like the formula, sums in double. Slow, and used
// by tests only. Instantiated for float and double.

#include "kernels/shapes.h"
#include "lorsa/kernels/types.h"

namespace lorsa::kernels::reference {

/// z_PH, norm_H [H] -> value_PK, head_PK. Returns the index p*H + h of the first entry whose score
/// is NaN (nothing is said about the outputs then), else -1.
template <typename T>
int64_t top_k(const T* z_PH,
              const T* norm_H,
              TopKShape shape,
              Selection selection,
              T* value_PK,
              int32_t* head_PK);

/// b_D may be null.
template <typename T>
void decode(const T* value_PK,
            const int32_t* head_PK,
            const T* W_O_HD,
            const T* b_D,
            DecodeShape shape,
            T* y_PD);

/// Returns the summed squared error.
template <typename T>
double decode_loss(const T* value_PK,
                   const int32_t* head_PK,
                   const T* W_O_HD,
                   const T* b_D,
                   const T* target_PD,
                   const uint8_t* scored_P,
                   double grad_scale,
                   Selection selection,
                   DecodeShape shape,
                   T* grad_y_PD,
                   T* grad_value_PK);

template <typename T>
void decode_backward(const T* value_PK,
                     const int32_t* head_PK,
                     const T* grad_y_PD,
                     DecodeShape shape,
                     T* grad_W_O_HD,
                     T* grad_b_D);

/// grad_PK at head_PK of out [P, H], 0 elsewhere.
template <typename T>
void scatter_kept(const T* grad_PK, const int32_t* head_PK, TopKShape shape, T* out_PH);

}  // namespace lorsa::kernels::reference
