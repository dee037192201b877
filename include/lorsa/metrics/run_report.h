#pragma once

#include <filesystem>
#include <vector>

#include "lorsa/core/api.h"

namespace lorsa::metrics {

/// Writes one HTML page that shows the runs side by side: a curve of every number in their
/// metrics.jsonl over tokens, the last numbers and the settings in which their config.yaml differ.
///
/// `runs` are run folders (docs/formats.md), one or more, each once. A run is called by its
/// folder's name, or by its path as given if two names are equal. The page needs no other file and
/// no network. Long curves are thinned to at most 1,500 points, minima and maxima kept. A last line
/// of metrics.jsonl without a line feed that does not parse is what a crash left: passed over with
/// a warning. A run without config.yaml has no settings.
///
/// `out` ends in .html or .htm and is replaced. ConfigError if it does not or the runs are none or
/// not distinct; IoError for a folder that is not there or a page that cannot be written;
/// FormatError naming file and line for a folder without metrics.jsonl, a damaged line, tokens that
/// run backwards or a config.yaml that is not plain YAML.
LORSA_API void write_run_report(const std::vector<std::filesystem::path>& runs,
                                const std::filesystem::path& out);

}  // namespace lorsa::metrics
