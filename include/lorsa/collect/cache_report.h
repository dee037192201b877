#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lorsa/collect/extract.h"
#include "lorsa/core/api.h"
#include "lorsa/data/manifest.h"
#include "lorsa/io/json.h"

namespace lorsa::collect {

/// The cache folders at `path`: itself if it holds a manifest, else its folders layer-N by N.
/// IoError if there is neither.
[[nodiscard]] LORSA_API std::vector<std::filesystem::path> cache_folders(
    const std::filesystem::path& path);

/// What a cache holds, for people: a few aligned lines.
[[nodiscard]] LORSA_API std::string cache_text(const std::filesystem::path& folder,
                                               const data::Manifest& manifest);

/// The same as one JSON object (keys as in manifest.json, shards counted instead of listed).
[[nodiscard]] LORSA_API io::Json cache_json(const std::filesystem::path& folder,
                                            const data::Manifest& manifest);

/// A plan for people.
[[nodiscard]] LORSA_API std::string plan_text(const ExtractPlan& plan);

/// A finished extraction for people.
[[nodiscard]] LORSA_API std::string report_text(const ExtractReport& report);

}  // namespace lorsa::collect
