#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "lorsa/data/manifest.h"
#include "lorsa/eval/evaluate.h"
#include "lorsa/eval/mhsa_comparison.h"
#include "lorsa/metrics/reconstruction.h"
#include "lorsa/metrics/usage.h"

namespace lorsa::eval {

/// One dictionary and what is measured of it. Its meters borrow it: it stays where it is.
struct Candidate {
  std::string name;
  model::Dictionary dictionary;
  metrics::ReconstructionMeter reconstruction;
  metrics::UsageMeter usage;
  std::unique_ptr<PatternMeter> patterns;  ///< null: not measured

  Candidate(NamedDictionary&& named, const data::Manifest& manifest);
  Candidate(const Candidate&) = delete;
  Candidate& operator=(const Candidate&) = delete;

  /// Adds a batch to reconstruction and usage; returns the output [B, T, D]. Input and target
  /// float32 on the Lorsa's device, scored [B, T] bool.
  at::Tensor add(const at::Tensor& input_BTD,
                 const at::Tensor& target_BTD,
                 const at::Tensor& scored_BT);

  /// All but what the cache says; `layer` is the attention that the checkpoint stands for, null for
  /// another component.
  [[nodiscard]] EvalReport report(const kernels::Mhsa* layer) const;
};

}  // namespace lorsa::eval
