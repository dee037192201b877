#pragma once

#include <filesystem>

#include "lorsa/core/api.h"
#include "lorsa/io/json.h"

namespace lorsa::eval {

/// Writes one HTML page with the numbers and plots of evaluation reports side by side; it needs no
/// other file and no network.
///
/// `reports` is what lorsa-eval --out writes: one report or a list of them (docs/formats.md). Keys
/// that a report lacks have no plot, those that the page does not know are passed over. `out` ends
/// in .html or .htm and is replaced. Throws ConfigError if it does not, FormatError if `reports`
/// holds something else than reports, IoError.
LORSA_API void write_eval_page(const io::Json& reports, const std::filesystem::path& out);

}  // namespace lorsa::eval
