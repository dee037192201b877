#pragma once

#include <cstdint>

// Row operations of the rotary embedding on the CPU.

namespace lorsa::kernels::cpu {

/// Rows of heads that lie as their positions and head numbers say; a row's leading 2 * half
/// elements are turned by the angles of its position, cos and sin [positions, half].
struct RotatedRows {
  int64_t positions = 1;
  int64_t position_stride = 0;
  int64_t heads = 1;
  int64_t head_stride = 0;
};

/// Turns pairs (i, i + half) in place. `sign` is 1, or -1 for the inverse rotation.
void rotate_half_split(float* x,
                       const RotatedRows& rows,
                       const float* cos,
                       const float* sin,
                       int64_t half,
                       float sign);
void rotate_half_split(double* x,
                       const RotatedRows& rows,
                       const double* cos,
                       const double* sin,
                       int64_t half,
                       double sign);

/// The same for pairs (2 i, 2 i + 1).
void rotate_adjacent(float* x,
                     const RotatedRows& rows,
                     const float* cos,
                     const float* sin,
                     int64_t half,
                     float sign);
void rotate_adjacent(double* x,
                     const RotatedRows& rows,
                     const double* cos,
                     const double* sin,
                     int64_t half,
                     double sign);

/// out_low = low cos + high sin and out_high = high cos - low sin, element by element: the inverse
/// rotation of a pair of dimensions at n positions.
void unrotate_pair(const float* low,
                   const float* high,
                   const float* cos,
                   const float* sin,
                   int64_t n,
                   float* out_low,
                   float* out_high);
void unrotate_pair(const double* low,
                   const double* high,
                   const double* cos,
                   const double* sin,
                   int64_t n,
                   double* out_low,
                   double* out_high);

}  // namespace lorsa::kernels::cpu
