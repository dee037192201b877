#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "lorsa/core/api.h"

namespace lorsa::config {

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal
/// string alignment).
[[nodiscard]] LORSA_API size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `word`, the earlier one of equals; empty if none is near enough to be
/// a slip of the keyboard (two edits, or a third of the word).
[[nodiscard]] LORSA_API std::string nearest(std::string_view word,
                                            const std::vector<std::string>& candidates);

}  // namespace lorsa::config
