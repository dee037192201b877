#pragma once

// The stage that trains a sweep's target model: all that a sweep knows of lorsa-toy.

#include <filesystem>
#include <string>
#include <vector>

#include "experiments/stages.h"
#include "lorsa/core/progress.h"

namespace lorsa::experiments {

/// The configuration at `path` with `overrides`. Throws as config::load().
[[nodiscard]] Resolved resolve_toy(const std::filesystem::path& path,
                                   const std::vector<std::string>& overrides);

/// Makes the toy, or goes on with it; nothing is left to do where it stands.
void make_toy(const std::filesystem::path& path,
              const std::vector<std::string>& overrides,
              Progress::Visible progress);

}  // namespace lorsa::experiments
