#include "experiments/error_pass.h"

#include <ATen/ATen.h>

#include "lorsa/core/error.h"

namespace lorsa::experiments {
namespace {

std::vector<int64_t> spread_training_rows(const study::Study& study, int64_t max_rows) {
  LORSA_CHECK(max_rows > 0, ConfigError, "max_fit_rows: expected >= 1, found {}", max_rows);
  const std::vector<int64_t>& all = study.cache().rows(data::Side::kTraining);
  LORSA_CHECK(!all.empty(), ConfigError, "{} holds no training rows to fit on",
              study.cache().folder());
  return study::spread(all, max_rows);
}

}  // namespace

ErrorPass::ErrorPass(const study::Study& study,
                     const study::PassOptions& options,
                     int64_t max_fit_rows)
    : study_(study),
      options_(options),
      fit_rows_(spread_training_rows(study, max_fit_rows)),
      heldout_rows_(study::heldout_rows(study.cache(), options.max_rows)) {
  LORSA_CHECK(study.members().size() == 2, ConfigError,
              "expected a checkpoint and its reference, found {}", study.members().size());
  study.require_members_of_cache();
  static_cast<void>(study.cache().attention());  // an MLP has no patterns to explain errors with
}

void ErrorPass::over_fit_rows(const std::function<void(const ErrorBatch&)>& take) const {
  over(fit_rows_, take);
}

void ErrorPass::over_heldout_rows(const std::function<void(const ErrorBatch&)>& take) const {
  over(heldout_rows_, take);
}

void ErrorPass::over(const std::vector<int64_t>& rows,
                     const std::function<void(const ErrorBatch&)>& take) const {
  study::for_each_batch(study_, "errors", rows, options_, [&](const study::StudyBatch& batch) {
    if (batch.scored_BT.any().item<bool>()) {
      take(run(batch));
    }
  });
}

ErrorBatch ErrorPass::run(const study::StudyBatch& batch) const {
  const at::Tensor& scored_BT = batch.scored_BT;
  const auto scored = [&](const at::Tensor& values) { return values.index({scored_BT}); };
  const auto scored_double = [&](const at::Tensor& values) {
    return scored(values).to(at::kDouble);
  };
  ErrorBatch result;
  result.outputs = {batch.output(0).y_BTD, batch.output(1).y_BTD, batch.target_BTD, scored_BT};
  result.input_nD = scored_double(batch.input_BTD);
  result.target_nD = scored_double(batch.target_BTD);
  result.error_nD = result.target_nD - scored_double(result.outputs.y_BTD);
  result.reference_nD = result.target_nD - scored_double(result.outputs.reference_y_BTD);
  result.token_n = scored(batch.stored().tokens_BT.to(study_.device(), at::kLong));
  result.position_n =
      scored(at::arange(scored_BT.size(1), result.token_n.options()).expand_as(scored_BT));
  result.entropy_nN = entropies(batch.input_BTD, scored_BT);
  return result;
}

at::Tensor ErrorPass::entropies(const at::Tensor& input_BTD, const at::Tensor& scored_BT) const {
  std::vector<at::Tensor> entropy;
  // Row by row: patterns take N T^2 values each.
  for (int64_t b = 0; b < input_BTD.size(0); ++b) {
    const at::Tensor pattern_NTT =
        kernels::mhsa_patterns(*study_.find_attention(), input_BTD.narrow(0, b, 1))[0];
    const at::Tensor entropy_NT = at::special_entr(pattern_NTT).sum(-1, false, at::kDouble);
    entropy.push_back(entropy_NT.t().index({scored_BT[b]}));
  }
  return at::cat(entropy);
}

}  // namespace lorsa::experiments
