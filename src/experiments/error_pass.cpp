#include "experiments/error_pass.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "eval/cache_pass.h"
#include "lorsa/core/device.h"
#include "lorsa/core/error.h"

namespace lorsa::experiments {
namespace {

std::vector<int64_t> spread_training_rows(const data::CacheReader& cache, int64_t max_rows) {
  LORSA_CHECK(max_rows > 0, ConfigError, "max_fit_rows: expected a positive number, found {}",
              max_rows);
  const std::vector<int64_t>& all = cache.rows(data::Side::kTraining);
  LORSA_CHECK(!all.empty(), ConfigError, "{} holds no training rows to fit regressions on",
              cache.folder());
  const auto available = static_cast<int64_t>(all.size());
  const int64_t count = std::min(available, max_rows);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < count; ++i) {
    rows.push_back(all[static_cast<size_t>(i * available / count)]);
  }
  return rows;
}

}  // namespace

ErrorPass::ErrorPass(const std::filesystem::path& checkpoint,
                     const std::filesystem::path& reference,
                     const ErrorAnalysisOptions& options)
    : options_(options),
      device_(resolve_device(options.device)),
      cache_(options.cache),
      fit_rows_(spread_training_rows(cache_, options.max_fit_rows)),
      heldout_rows_(eval::heldout_rows(cache_, options.max_rows)),
      layer_(cache_.attention().to(device_, at::kFloat)),
      checkpoint_(eval::load_for_cache(checkpoint, cache_, device_)),
      reference_(eval::load_for_cache(reference, cache_, device_)) {}

void ErrorPass::over_fit_rows(const std::function<void(const ErrorBatch&)>& take) const {
  over(fit_rows_, take);
}

void ErrorPass::over_heldout_rows(const std::function<void(const ErrorBatch&)>& take) const {
  over(heldout_rows_, take);
}

void ErrorPass::over(const std::vector<int64_t>& rows,
                     const std::function<void(const ErrorBatch&)>& take) const {
  eval::for_each_batch(cache_, rows, options_.batch_sequences, [&](const data::Batch& batch) {
    if (batch.scored_BT.any().item<bool>()) {
      take(run(batch));
    }
  });
}

ErrorBatch ErrorPass::run(const data::Batch& batch) const {
  const at::Tensor input_BTD = batch.input_BTD.to(device_, at::kFloat);
  const at::Tensor target_BTD = batch.target_BTD.to(device_, at::kFloat);
  const at::Tensor scored_BT = batch.scored_BT.to(device_);
  const auto output_of = [&](const model::Dictionary& dictionary) {
    return dictionary.reconstruct(dictionary.read_of(input_BTD, target_BTD)).y_BTD;
  };
  const auto scored = [&](const at::Tensor& values) { return values.index({scored_BT}); };
  const auto scored_double = [&](const at::Tensor& values) {
    return scored(values).to(at::kDouble);
  };
  ErrorBatch result;
  result.outputs = {output_of(checkpoint_.dictionary), output_of(reference_.dictionary), target_BTD,
                    scored_BT};
  result.input_nD = scored_double(input_BTD);
  result.target_nD = scored_double(target_BTD);
  result.error_nD = result.target_nD - scored_double(result.outputs.y_BTD);
  result.reference_nD = result.target_nD - scored_double(result.outputs.reference_y_BTD);
  result.token_n = scored(batch.tokens_BT.to(device_, at::kLong));
  result.position_n =
      scored(at::arange(scored_BT.size(1), result.token_n.options()).expand_as(scored_BT));
  result.entropy_nN = entropies(input_BTD, scored_BT);
  return result;
}

at::Tensor ErrorPass::entropies(const at::Tensor& input_BTD, const at::Tensor& scored_BT) const {
  std::vector<at::Tensor> entropy;
  // Row by row: patterns take N T^2 values each.
  for (int64_t b = 0; b < input_BTD.size(0); ++b) {
    const at::Tensor pattern_NTT = kernels::mhsa_patterns(layer_, input_BTD.narrow(0, b, 1))[0];
    const at::Tensor entropy_NT = at::special_entr(pattern_NTT).sum(-1, false, at::kDouble);
    entropy.push_back(entropy_NT.t().index({scored_BT[b]}));
  }
  return at::cat(entropy);
}

}  // namespace lorsa::experiments
