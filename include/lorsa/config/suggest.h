#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace lorsa::config {

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal
/// string alignment).
[[nodiscard]] size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `word`, the earlier one of equals; empty if none is near enough to be
/// a slip of the keyboard (two edits, or a third of the word).
[[nodiscard]] std::string nearest(std::string_view word,
                                  const std::vector<std::string>& candidates);

}  // namespace lorsa::config
