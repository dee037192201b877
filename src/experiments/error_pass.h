#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "lorsa/study/study.h"

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

/// Runs a study's two members and the layer itself on rows of a cache.
class ErrorPass {
 public:
  /// The study is borrowed.
  ErrorPass(const study::Study& study, const study::PassOptions& options, int64_t max_fit_rows);

  [[nodiscard]] const data::Manifest& manifest() const { return study_.cache().manifest(); }

  /// At most max_fit_rows training rows, evenly spread.
  void over_fit_rows(const std::function<void(const ErrorBatch&)>& take) const;
  void over_heldout_rows(const std::function<void(const ErrorBatch&)>& take) const;

 private:
  void over(const std::vector<int64_t>& rows,
            const std::function<void(const ErrorBatch&)>& take) const;
  [[nodiscard]] ErrorBatch run(const study::StudyBatch& batch) const;
  [[nodiscard]] at::Tensor entropies(const at::Tensor& input_BTD,
                                     const at::Tensor& scored_BT) const;

  const study::Study& study_;
  study::PassOptions options_;
  std::vector<int64_t> fit_rows_;
  std::vector<int64_t> heldout_rows_;
};

}  // namespace lorsa::experiments
