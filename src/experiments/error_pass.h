#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "lorsa/data/cache_reader.h"
#include "lorsa/experiments/error_analysis.h"
#include "lorsa/model/checkpoint.h"

namespace lorsa::experiments {

/// The n scored tokens of a batch: double on the device of the pass, but `token_n` and `position_n`
/// int64. `outputs` are what a ReconstructionMeter takes.
struct ErrorBatch {
  at::Tensor input_nD;
  at::Tensor target_nD;
  at::Tensor error_nD;      ///< t - y
  at::Tensor reference_nD;  ///< likewise of the reference
  at::Tensor token_n;
  at::Tensor position_n;
  at::Tensor entropy_nN;  ///< of the layer's own patterns, nats

  struct Outputs {
    at::Tensor y_BTD, reference_y_BTD, target_BTD, scored_BT;
  } outputs;
};

/// Runs a checkpoint, its reference and the layer itself on rows of a cache.
class ErrorPass {
 public:
  ErrorPass(const std::filesystem::path& checkpoint,
            const std::filesystem::path& reference,
            const ErrorAnalysisOptions& options);

  [[nodiscard]] const data::Manifest& manifest() const { return cache_.manifest(); }

  [[nodiscard]] c10::Device device() const { return device_; }

  /// At most max_fit_rows training rows, evenly spread.
  void over_fit_rows(const std::function<void(const ErrorBatch&)>& take) const;
  void over_heldout_rows(const std::function<void(const ErrorBatch&)>& take) const;

 private:
  void over(const std::vector<int64_t>& rows,
            const std::function<void(const ErrorBatch&)>& take) const;
  [[nodiscard]] ErrorBatch run(const data::Batch& batch) const;
  [[nodiscard]] at::Tensor entropies(const at::Tensor& input_BTD,
                                     const at::Tensor& scored_BT) const;

  const ErrorAnalysisOptions& options_;
  c10::Device device_;
  data::CacheReader cache_;
  std::vector<int64_t> fit_rows_;
  std::vector<int64_t> heldout_rows_;
  kernels::Mhsa layer_;
  model::LoadedDictionary checkpoint_;
  model::LoadedDictionary reference_;
};

}  // namespace lorsa::experiments
