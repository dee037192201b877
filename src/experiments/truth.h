#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace lorsa::experiments {

/// truth.json of a toy (docs/formats.md).
struct Truth {
  struct Application {
    int64_t rule = 0;
    std::vector<int64_t> sources;
  };

  /// A position at which rules may apply, and those that do.
  struct Candidate {
    int64_t position = 0;
    std::vector<Application> applications;
  };

  int64_t layer = 0;
  int64_t context_length = 0;
  std::vector<std::string> rules;
  std::map<int64_t, std::vector<Candidate>> documents;  ///< held-out ones by number
};

/// Throws IoError, FormatError naming the document.
[[nodiscard]] Truth read_truth(const std::filesystem::path& path);

}  // namespace lorsa::experiments
