#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "lorsa/data/cache_reader.h"
#include "lorsa/model/checkpoint.h"

// What every measurement of checkpoints on a cache begins with.

namespace lorsa::eval {

/// The checkpoint, folded, on `device`. Throws ConfigError naming both sides unless it is of the
/// cache's width, layer, language model and input convention.
[[nodiscard]] model::LoadedDictionary load_for_cache(const std::filesystem::path& checkpoint,
                                                     const data::CacheReader& cache,
                                                     c10::Device device);

/// The first `max_rows` held-out rows, all for 0. Throws ConfigError if there are none.
[[nodiscard]] std::vector<int64_t> heldout_rows(const data::CacheReader& cache, int64_t max_rows);

/// What a kind reads of a batch: an SAE the target. float32 on `device`.
[[nodiscard]] at::Tensor input_of(const model::Dictionary& dictionary,
                                  const data::Batch& batch,
                                  c10::Device device);

/// Calls `take` with `rows`, `batch_sequences` at a time, in their order. Throws ConfigError for a
/// batch without rows. Honours StopSignal with Interrupted.
void for_each_batch(const data::CacheReader& cache,
                    const std::vector<int64_t>& rows,
                    int64_t batch_sequences,
                    const std::function<void(const data::Batch&)>& take);

}  // namespace lorsa::eval
