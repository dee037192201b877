#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "lorsa/analysis/head_contexts.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/model/lorsa.h"

namespace lorsa::analysis {

/// At most so many sources of a context are listed, and so many outside its window shown.
inline constexpr int64_t kMostSources = 128;
inline constexpr int64_t kMostOutside = 4;

/// Fills what the second pass knows of a context from its row: z_T, the z-pattern at the peak [T],
/// and tokens_T, the row's tokens.
void fill_context(HeadContext& context, const float* z_T, const int32_t* tokens_T, int64_t T);

/// Reads the rows that hold a context once more and fills all contexts of all heads. `on_contexts`
/// is told how many are done; it may throw to stop.
void read_patterns(const model::Lorsa& lorsa,
                   const data::CacheReader& cache,
                   int64_t batch_rows,
                   std::vector<std::vector<HeadContext>>& contexts,
                   const std::function<void(int64_t)>& on_contexts);

}  // namespace lorsa::analysis
