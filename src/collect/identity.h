#pragma once

#include <filesystem>
#include <string>

#include "job.h"

namespace lorsa::collect {

/// The job's settings as YAML, without what may change between runs that continue one another:
/// device, threads, time-outs, the place of the folder and the other layers. Stored in the
/// manifest.
///
/// batch_sequences is in: it can change the rounding of the model's products. The dtype is
/// resolved, or moving from CPU to CUDA under `auto` would change it unseen.
[[nodiscard]] std::string identity_yaml(const Job& job, const Site& site);

/// Throws ConfigError naming the keys in which the cache at `folder`, made under `found_yaml`,
/// differs from `wanted_yaml`.
void check_same_configuration(const std::filesystem::path& folder,
                              const std::string& found_yaml,
                              const std::string& wanted_yaml);

}  // namespace lorsa::collect
