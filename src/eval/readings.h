#pragma once

#include <optional>

#include "lorsa/data/cache_reader.h"
#include "lorsa/eval/convert.h"

namespace lorsa::eval {

/// Judges the weights of `imported` as scaled and as folded ones on rows of the cache: held-out
/// ones where there are any.
[[nodiscard]] Readings judge_readings(const model::ImportedDictionary& imported,
                                      const data::CacheReader& cache);

}  // namespace lorsa::eval
