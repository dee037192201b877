#pragma once

#include <cstdint>

// Row operations of norms and gated activations on the CPU.

namespace lorsa::kernels::cpu {

/// y = x / rms(x) * gain for one row of n; `unit`, where not null, receives x / rms(x).
void rms_norm_row(const float* x, const float* gain, float* y, float* unit, int64_t n, float eps);

/// gate = silu(gate) * up.
void silu_mul(float* gate, const float* up, int64_t n);

}  // namespace lorsa::kernels::cpu
