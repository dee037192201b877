#include "eval/cache_pass.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lorsa/core/error.h"
#include "lorsa/core/stop_signal.h"

namespace lorsa::eval {
namespace {

// Checkpoint and cache speak of one layer of one model.
void check_belong(const std::filesystem::path& checkpoint,
                  const model::LoadedDictionary& loaded,
                  const data::CacheReader& cache) {
  const auto refuse_unless = [&](bool equal, const char* what, const auto& ours,
                                 const auto& theirs) {
    LORSA_CHECK(equal, ConfigError,
                "{} and {} do not belong together: the checkpoint's {} is {}, the cache's {}",
                checkpoint, cache.folder(), what, ours, theirs);
  };
  const data::Manifest& manifest = cache.manifest();
  const int64_t width = loaded.dictionary.shape().d_model;
  refuse_unless(width == manifest.d_model, "d_model", width, manifest.d_model);
  refuse_unless(loaded.info.site == manifest.site, "site", to_string(loaded.info.site),
                to_string(manifest.site));
  refuse_unless(loaded.info.weights_sha256 == manifest.weights_sha256,
                "language model (SHA-256 of its weights)", loaded.info.weights_sha256,
                manifest.weights_sha256);
  refuse_unless(loaded.info.input_convention == manifest.input_convention, "input convention",
                loaded.info.input_convention, manifest.input_convention);
}

}  // namespace

model::LoadedDictionary load_for_cache(const std::filesystem::path& checkpoint,
                                       const data::CacheReader& cache,
                                       c10::Device device) {
  model::LoadedDictionary loaded = model::load_folded(checkpoint);
  check_belong(checkpoint, loaded, cache);
  for (const auto& [name, tensor] : loaded.dictionary.weights().named()) {
    *tensor = tensor->to(device);
  }
  return loaded;
}

std::vector<int64_t> heldout_rows(const data::CacheReader& cache, int64_t max_rows) {
  std::vector<int64_t> rows = cache.rows(data::Side::kHeldout);
  if (max_rows > 0 && static_cast<size_t>(max_rows) < rows.size()) {
    rows.resize(static_cast<size_t>(max_rows));
  }
  LORSA_CHECK(
      !rows.empty(), ConfigError,
      "{} holds no held-out rows: extract it with data.holdout_fraction > 0 and more tokens",
      cache.folder());
  return rows;
}

at::Tensor input_of(const model::Dictionary& dictionary,
                    const data::Batch& batch,
                    c10::Device device) {
  return dictionary.read_of(batch.input_BTD, batch.target_BTD).to(device, at::kFloat);
}

void for_each_batch(const data::CacheReader& cache,
                    const std::vector<int64_t>& rows,
                    int64_t batch_sequences,
                    const std::function<void(const data::Batch&)>& take) {
  LORSA_CHECK(batch_sequences > 0, ConfigError,
              "batch_sequences: expected a positive number, found {}", batch_sequences);
  const auto num_rows = static_cast<int64_t>(rows.size());
  for (int64_t first = 0; first < num_rows; first += batch_sequences) {
    if (StopSignal::requested()) {
      throw Interrupted(
          formatted("stopped after {} of {} rows; nothing was written", first, num_rows));
    }
    const int64_t last = std::min(first + batch_sequences, num_rows);
    take(cache.read({rows.begin() + first, rows.begin() + last}));
  }
}

}  // namespace lorsa::eval
