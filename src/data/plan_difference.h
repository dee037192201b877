#pragma once

#include <string>

#include "lorsa/data/manifest.h"

namespace lorsa::data {

/// What two plans of a cache (plan_json()) differ in, a line each, configurations line by line.
/// Empty if they agree.
[[nodiscard]] std::string plan_difference(const Manifest& before, const Manifest& now);

}  // namespace lorsa::data
