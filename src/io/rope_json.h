#pragma once

#include "io/words.h"
#include "lorsa/kernels/rope.h"

namespace lorsa::io {

inline const Words<kernels::RopeLayout> kRopeLayouts = {
    {"half_split", kernels::RopeLayout::kHalfSplit},
    {"adjacent_pairs", kernels::RopeLayout::kAdjacentPairs}};

/// kAll: as checkpoints have them, layout last; kUsed: as caches, without what no scaling uses.
enum class RopeKeys { kAll, kUsed };

[[nodiscard]] Json rope_to_json(const kernels::RopeSpec& rope, RopeKeys keys);

/// Reads either. Throws FormatError naming `where`.
[[nodiscard]] kernels::RopeSpec rope_from_json(const Json& json, const std::string& where);

}  // namespace lorsa::io
