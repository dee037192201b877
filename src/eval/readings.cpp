#include "eval/readings.h"

#include <ATen/ATen.h>

#include <utility>

#include "eval/measures.h"
#include "lorsa/core/error.h"

namespace lorsa::eval {
namespace {

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

Readings judge_readings(const model::ImportedDictionary& imported, study::Study& study) {
  const data::CacheReader& cache = study.cache();
  const auto& heldout = cache.rows(data::Side::kHeldout);
  std::vector<int64_t> rows = heldout.empty() ? cache.rows(data::Side::kAll) : heldout;
  LORSA_CHECK(!rows.empty(), ConfigError, "{} holds no rows", cache.folder());
  if (static_cast<int64_t>(rows.size()) > kReadingRows) {
    rows.resize(kReadingRows);
  }
  study.add("folded", imported.loaded.dictionary);
  if (imported.scales) {
    study.add("scaled", folded_copy(imported.loaded.dictionary, *imported.scales));
  }
  const std::unique_ptr<Measure> outputs = measure_outputs(study);
  study::for_each_batch(study, "read", rows,
                        {.batch_sequences = 1, .progress = Progress::Visible::kNo},
                        [&](const study::StudyBatch& batch) { outputs->add(batch); });
  std::vector<EvalReport> reports(study.members().size());
  outputs->fill(reports);
  Readings readings;
  readings.num_rows = static_cast<int64_t>(rows.size());
  readings.fvu_folded = reports[0].reconstruction.fvu;
  readings.l0_folded = reports[0].usage.l0;
  if (imported.scales) {
    readings.fvu_scaled = reports[1].reconstruction.fvu;
    readings.l0_scaled = reports[1].usage.l0;
  }
  return readings;
}

}  // namespace lorsa::eval
