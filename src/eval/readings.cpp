#include "eval/readings.h"

#include <ATen/ATen.h>

#include <utility>

#include "lorsa/core/error.h"
#include "lorsa/metrics/reconstruction.h"
#include "lorsa/metrics/usage.h"

namespace lorsa::eval {
namespace {

struct Judged {
  double fvu = 0.0;
  double l0 = 0.0;
};

Judged judge(const model::Dictionary& dictionary,
             const data::CacheReader& cache,
             const std::vector<int64_t>& rows) {
  const data::Manifest& manifest = cache.manifest();
  metrics::ReconstructionMeter reconstruction(manifest.context_length, manifest.d_model);
  metrics::UsageMeter usage(dictionary.shape().num_ov_heads);
  for (const int64_t row : rows) {
    const data::Batch batch = cache.read({row});
    const model::Reconstruction out = dictionary.reconstruct(batch.input_BTD.to(at::kFloat));
    reconstruction.add(out.y_BTD, batch.target_BTD.to(at::kFloat), batch.scored_BT);
    usage.add(out.kept.value_PK, out.kept.head_PK, batch.scored_BT.reshape({-1}));
  }
  return {reconstruction.report().fvu, usage.report().l0};
}

model::Dictionary folded_copy(const model::Dictionary& dictionary, const model::Scales& scales) {
  model::DictionaryWeights weights = dictionary.weights();
  for (const auto& [name, tensor] : weights.named()) {
    *tensor = tensor->clone();
  }
  model::Dictionary copy(dictionary.shape(), std::move(weights));
  copy.fold(scales.input, scales.target);
  return copy;
}

}  // namespace

model::Normalization Readings::better() const {
  return fvu_scaled && *fvu_scaled < fvu_folded ? model::Normalization::kScaled
                                                : model::Normalization::kFolded;
}

Readings judge_readings(const model::ImportedDictionary& imported, const data::CacheReader& cache) {
  const auto& heldout = cache.rows(data::Side::kHeldout);
  std::vector<int64_t> rows = heldout.empty() ? cache.rows(data::Side::kAll) : heldout;
  LORSA_CHECK(!rows.empty(), ConfigError, "{} holds no rows", cache.folder());
  if (static_cast<int64_t>(rows.size()) > kReadingRows) {
    rows.resize(kReadingRows);
  }
  Readings readings;
  readings.num_rows = static_cast<int64_t>(rows.size());
  const Judged folded = judge(imported.loaded.dictionary, cache, rows);
  readings.fvu_folded = folded.fvu;
  readings.l0_folded = folded.l0;
  if (imported.scales) {
    const Judged scaled =
        judge(folded_copy(imported.loaded.dictionary, *imported.scales), cache, rows);
    readings.fvu_scaled = scaled.fvu;
    readings.l0_scaled = scaled.l0;
  }
  return readings;
}

}  // namespace lorsa::eval
