#pragma once

#include <filesystem>

#include "lorsa/core/api.h"
#include "lorsa/io/json.h"

namespace lorsa::experiments {

/// Draws a sweep's results.json (docs/formats.md) as one page that opens from disk: question, table
/// with seeds aggregated (mean, standard deviation), curves, heat maps, log-log plots with fits and
/// their residuals, and what was measured of rules, stability and errors. A section without data is
/// left out.
///
/// Seeds are the settings run.seed, toy:run.seed and data.seed. page.columns may be empty: then
/// fvu, l0, dead_fraction and parameters.
///
/// `out` ends in .html and is replaced. Throws ConfigError, IoError; FormatError for results that
/// lack a member, or whose curves and heat maps do not read "Y against X [by SERIES]" and
/// "Y against X1 and X2 [by SERIES]".
LORSA_API void write_sweep_page(const io::Json& results, const std::filesystem::path& out);

}  // namespace lorsa::experiments
