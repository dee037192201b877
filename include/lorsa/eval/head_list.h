#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/eval/intervene.h"

namespace lorsa::eval {

/// Heads that a name stands for.
using NamedHeads = std::map<std::string, std::vector<int64_t>>;

/// The heads of a LIST (`--ablate-heads`), ascending: numbers, ranges "40-60" (both ends included)
/// and names of `named`, separated by commas or white space; "@FILE" reads the list from a file.
///
/// Several names may share heads. Throws ConfigError naming option, expected and found for anything
/// else, an unknown name (listing the known ones), a head outside 0 .. num_heads-1 or given twice,
/// and a list without heads; IoError for a file that cannot be read.
[[nodiscard]] LORSA_API std::vector<int64_t> parse_heads(std::string_view text,
                                                         int64_t num_heads,
                                                         const NamedHeads& named);

/// "HEAD=VALUE" (`--steer`). Throws ConfigError naming option, expected and found.
[[nodiscard]] LORSA_API HeadEdit parse_steer(std::string_view text, int64_t num_heads);

/// One set: `ablated` heads set to 0, then `steered`. Throws ConfigError naming the options for a
/// head in both or steered twice.
[[nodiscard]] LORSA_API HeadEdits join_edits(const std::vector<int64_t>& ablated,
                                             const std::vector<HeadEdit>& steered);

}  // namespace lorsa::eval
