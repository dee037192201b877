#pragma once

#include "lorsa/kernels/types.h"

namespace lorsa::kernels::reference {

/// One AdamW step on n elements, every element in double and rounded once. For float and double.
template <typename T>
void adam_step(T* parameter,
               const T* gradient,
               T* first_moment,
               T* second_moment,
               int64_t n,
               const AdamHyper& hyper);

template <typename T>
double squared_norm(const T* x, int64_t n);

}  // namespace lorsa::kernels::reference
