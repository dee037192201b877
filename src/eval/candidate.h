#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>

#include "lorsa/data/manifest.h"
#include "lorsa/eval/evaluate.h"
#include "lorsa/eval/mhsa_comparison.h"
#include "lorsa/metrics/reconstruction.h"
#include "lorsa/metrics/usage.h"
#include "lorsa/model/checkpoint.h"

namespace lorsa::eval {

/// One checkpoint and what is measured of it. Its meters borrow the Lorsa: it stays where it is.
struct Candidate {
  std::filesystem::path folder;
  model::LoadedDictionary loaded;
  metrics::ReconstructionMeter reconstruction;
  metrics::UsageMeter usage;
  std::unique_ptr<PatternMeter> patterns;  ///< null: not measured

  Candidate(const std::filesystem::path& checkpoint,
            model::LoadedDictionary&& dictionary,
            const data::Manifest& manifest);
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
