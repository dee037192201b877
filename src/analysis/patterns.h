#pragma once

#include <cstdint>
#include <vector>

#include "lorsa/analysis/head_contexts.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/model/dictionary.h"

namespace lorsa::analysis {

/// At most so many sources of a context are listed, and so many outside its window shown.
inline constexpr int64_t kMostSources = 128;
inline constexpr int64_t kMostOutside = 4;

/// Fills what a context's row tells: z_T, the z-pattern at the peak [T], and tokens_T, the row's
/// tokens. A null z_T leaves the pattern empty.
void fill_context(HeadContext& context, const float* z_T, const int32_t* tokens_T, int64_t T);

/// Fills contexts that lie in the rows of `batch`, whose rows ascend, from the pass over it; those
/// of non-firing samples without a pattern. `batch` needs no activations. Memory beside them: 64
/// MiB.
void fill_contexts(const model::Dictionary& dictionary,
                   const model::Reading& reading,
                   const data::Batch& batch,
                   const std::vector<HeadCollector::Fresh>& contexts);

}  // namespace lorsa::analysis
