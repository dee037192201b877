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
  Selection selection = Selection::kPositive;
};

template <typename T>
struct LossOutput {
  T* grad_y_PD = nullptr;
  T* grad_value_PK = nullptr;
  double* squared_error_P = nullptr;
};

/// The entries of every head: those of head h lie at offset_H1[h] .. offset_H1[h + 1], ascending in
/// position. Entries of value 0 are left out.
template <typename T>
struct HeadLists {
  const int64_t* offset_H1 = nullptr;
  const int32_t* position = nullptr;
  const T* value = nullptr;
};

/// Part of a head's list: entries [first, last), added into `row` [D].
template <typename T>
struct ListPart {
  int64_t first = 0;
  int64_t last = 0;
  T* row = nullptr;
};

/// Counting sort of the P*K entries by head. offset_H1 [H + 1]; position and value hold P*K.
/// Serial: a few percent of the sums that follow. W_O and b_D of `in` are not read.
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

/// Rows of grad_y and grad_value, and the squared error of each row. A position's rows of W_O are
/// read twice in a row, for y and for their products with grad_y.
void decode_loss_rows(const DecodeInput<float>& in,
                      const LossInput<float>& loss,
                      int64_t begin,
                      int64_t end,
                      const LossOutput<float>& out);
void decode_loss_rows(const DecodeInput<double>& in,
                      const LossInput<double>& loss,
                      int64_t begin,
                      int64_t end,
                      const LossOutput<double>& out);

/// row = sum over the part's entries of value * grad_y, for parts [begin, end).
void sum_list_parts(const HeadLists<float>& lists,
                    const float* grad_y_PD,
                    int64_t width,
                    const ListPart<float>* begin,
                    const ListPart<float>* end);
void sum_list_parts(const HeadLists<double>& lists,
                    const double* grad_y_PD,
                    int64_t width,
                    const ListPart<double>* begin,
                    const ListPart<double>* end);

/// Columns [begin, end) of the column sums of grad_y, in double.
void column_sums(
    const float* grad_y_PD, DecodeShape shape, int64_t begin, int64_t end, float* grad_b_D);
void column_sums(
    const double* grad_y_PD, DecodeShape shape, int64_t begin, int64_t end, double* grad_b_D);

}  // namespace lorsa::kernels::cpu
