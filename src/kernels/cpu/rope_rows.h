#pragma once

#include <cstdint>

// Row operations of the rotary embedding on the CPU.

namespace lorsa::kernels::cpu {

/// Rotates the leading 2 * half elements of `heads` head vectors, `head_stride` elements apart, by
/// one position's angles: pairs (i, i + half). `sign` is 1, or -1 for the inverse rotation.
void rotate_half_split(float* x,
                       const float* cos,
                       const float* sin,
                       int64_t half,
                       int64_t heads,
                       int64_t head_stride,
                       float sign);
void rotate_half_split(double* x,
                       const double* cos,
                       const double* sin,
                       int64_t half,
                       int64_t heads,
                       int64_t head_stride,
                       double sign);

/// The same for pairs (2 i, 2 i + 1).
void rotate_adjacent(float* x,
                     const float* cos,
                     const float* sin,
                     int64_t half,
                     int64_t heads,
                     int64_t head_stride,
                     float sign);
void rotate_adjacent(double* x,
                     const double* cos,
                     const double* sin,
                     int64_t half,
                     int64_t heads,
                     int64_t head_stride,
                     double sign);

}  // namespace lorsa::kernels::cpu
