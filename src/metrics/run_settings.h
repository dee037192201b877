#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace lorsa::metrics {

/// Dotted key and value as text of every setting in a config.yaml, in the file's order; lists as
/// "[a, b]". Any keys are taken: an older run may have had others. FormatError naming path, line
/// and column for what is not plain YAML with a map at the top; IoError.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> read_settings(
    const std::filesystem::path& path);

}  // namespace lorsa::metrics
