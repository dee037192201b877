#pragma once

#include <cstdint>

#include "kernels/shapes.h"
#include "lorsa/kernels/types.h"

namespace lorsa::kernels::cpu {

/// Top-k of the rows [begin, end) of z_PH. Returns the index p*H + h of the first entry in these
/// rows whose score is NaN (or negative, for a negative norm), else -1. No allocation is kept.
int64_t top_k_rows(const float* z_PH,
                   const float* norm_H,
                   TopKShape shape,
                   Selection selection,
                   int64_t begin,
                   int64_t end,
                   float* value_PK,
                   int32_t* head_PK);
int64_t top_k_rows(const double* z_PH,
                   const double* norm_H,
                   TopKShape shape,
                   Selection selection,
                   int64_t begin,
                   int64_t end,
                   double* value_PK,
                   int32_t* head_PK);

}  // namespace lorsa::kernels::cpu
