#pragma once

#include <cstdint>

// Plain types that the kernels of every backend share with their tensor bindings. No Torch here.

namespace lorsa::kernels {

/// What a head's score and activation are made of.
enum class Selection {
  kPositive,  ///< score = relu(z) * norm, activation = relu(z)
  kSigned     ///< score = |z| * norm, activation = z
};

/// Which elements an Adam step touches.
enum class AdamKind {
  kDense,
  /// Where the gradient (before scaling) is exactly 0, parameter and moments stay as they are and
  /// nothing decays: a head that no position kept keeps its moments until it is kept again.
  kSparse
};

struct AdamHyper {
  AdamKind kind = AdamKind::kDense;
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;    ///< decoupled (AdamW, Loshchilov and Hutter 2019)
  int64_t step = 1;             ///< counts from 1, for the bias correction
  double gradient_scale = 1.0;  ///< multiplies the gradient first (clipping)
};

}  // namespace lorsa::kernels
