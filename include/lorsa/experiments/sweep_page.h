#pragma once

#include <filesystem>

#include "lorsa/io/json.h"

namespace lorsa::experiments {

/// Draws a sweep's results.json (docs/formats.md) as one page that opens from disk: question, table
/// with seeds aggregated (mean, standard deviation), curves, heat maps, log-log plots with fits and
/// their residuals, and what was measured of rules, stability and errors.
///
/// `out` ends in .html and is replaced. Throws ConfigError, IoError; FormatError for results that
/// lack a member.
void write_sweep_page(const io::Json& results, const std::filesystem::path& out);

}  // namespace lorsa::experiments
