#pragma once

#include <cstdint>

// Row operations of the causal attention on the CPU: everything between its matrix products. T is
// float or double.

namespace lorsa::kernels::cpu {

/// Turns n raw products into softmax weights in place: w_j = exp(scale * (s_j - max)) / sum for j <
/// live, 0 for live <= j < n. Returns the log-sum-exp of scale * s over the live ones. live >= 1,
/// scale > 0.
float softmax_row(float* row, int64_t live, int64_t n, float scale);
double softmax_row(double* row, int64_t live, int64_t n, double scale);

/// Recomputes the weights of a row from its log-sum-exp: w_j = exp(scale * s_j - lse), 0 for live
/// <= j < n.
void weights_from_lse(float* row, int64_t live, int64_t n, float scale, float lse);
void weights_from_lse(double* row, int64_t live, int64_t n, double scale, double lse);

/// y += a x.
void axpy(float* y, const float* x, float a, int64_t n);
void axpy(double* y, const double* x, double a, int64_t n);

/// dots[j] = a . b_j for the `rows` vectors b_j of length n, b_stride apart.
void row_products(
    const float* a, const float* b, int64_t b_stride, int64_t rows, int64_t n, float* dots);
void row_products(
    const double* a, const double* b, int64_t b_stride, int64_t rows, int64_t n, double* dots);

/// Gradient of the raw products, in place of d_row: d_j = scale * w_j * (d_j - dot) (softmax
/// backward, the row's w.d = dot).
void softmax_backward_row(float* d_row, const float* weights, int64_t n, float dot, float scale);
void softmax_backward_row(
    double* d_row, const double* weights, int64_t n, double dot, double scale);

}  // namespace lorsa::kernels::cpu
