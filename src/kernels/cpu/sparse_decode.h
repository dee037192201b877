#pragma once

#include <cstdint>

#include "kernels/shapes.h"
#include "lorsa/kernels/types.h"

// Ranges [begin, end) are what a thread is given; every output element is made by one range, in an
// order that does not depend on where the ranges are cut.

namespace lorsa::kernels::cpu {

/// Everything of a decode call for float or double; b_D may be null.
template <typename T>
struct DecodeInput {
  const T* value_PK = nullptr;
  const int32_t* head_PK = nullptr;
  const T* W_O_HD = nullptr;
  const T* b_D = nullptr;
  DecodeShape shape;
};

template <typename T>
struct LossInput {
  const T* target_PD = nullptr;
  const uint8_t* scored_P = nullptr;
  double grad_scale = 0.0;
};

/// The entries of every head: those of head h lie at offset_H1[h] .. offset_H1[h + 1], ascending in
/// position. Entries of value 0 are left out.
template <typename T>
struct HeadLists {
  const int64_t* offset_H1 = nullptr;
  const int32_t* position = nullptr;
  const T* value = nullptr;
};

/// Counting sort of the P*K entries by head. offset_H1 [H + 1]; position and value hold P*K.
/// Serial: a few percent of the sums that follow.
void sort_by_head(const DecodeInput<float>& in,
                  int64_t* offset_H1,
                  int32_t* position,
                  float* value);
void sort_by_head(const DecodeInput<double>& in,
                  int64_t* offset_H1,
                  int32_t* position,
                  double* value);

/// Rows of y.
void decode_rows(const DecodeInput<float>& in, int64_t begin, int64_t end, float* y_PD);
void decode_rows(const DecodeInput<double>& in, int64_t begin, int64_t end, double* y_PD);

/// Rows of grad_y, and the squared error of each row in squared_error_P.
void decode_loss_rows(const DecodeInput<float>& in,
                      const LossInput<float>& loss,
                      int64_t begin,
                      int64_t end,
                      float* grad_y_PD,
                      double* squared_error_P);
void decode_loss_rows(const DecodeInput<double>& in,
                      const LossInput<double>& loss,
                      int64_t begin,
                      int64_t end,
                      double* grad_y_PD,
                      double* squared_error_P);

/// Rows of grad_value.
void grad_value_rows(const DecodeInput<float>& in,
                     const float* grad_y_PD,
                     Selection selection,
                     int64_t begin,
                     int64_t end,
                     float* grad_value_PK);
void grad_value_rows(const DecodeInput<double>& in,
                     const double* grad_y_PD,
                     Selection selection,
                     int64_t begin,
                     int64_t end,
                     double* grad_value_PK);

/// Rows (heads) of W_O's gradient.
void grad_W_O_heads(const HeadLists<float>& lists,
                    const float* grad_y_PD,
                    int64_t width,
                    int64_t begin,
                    int64_t end,
                    float* grad_W_O_HD);
void grad_W_O_heads(const HeadLists<double>& lists,
                    const double* grad_y_PD,
                    int64_t width,
                    int64_t begin,
                    int64_t end,
                    double* grad_W_O_HD);

/// Columns [begin, end) of the column sums of grad_y, in double.
void column_sums(
    const float* grad_y_PD, DecodeShape shape, int64_t begin, int64_t end, float* grad_b_D);
void column_sums(
    const double* grad_y_PD, DecodeShape shape, int64_t begin, int64_t end, double* grad_b_D);

}  // namespace lorsa::kernels::cpu
