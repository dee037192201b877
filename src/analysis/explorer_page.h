#pragma once

#include <filesystem>
#include <span>
#include <string_view>

namespace lorsa::analysis {

struct ExplorerFile {
  std::string_view name;
  std::string_view text;
};

/// The explorer's files as they stand in src/analysis/explorer, embedded by the build.
extern const std::span<const ExplorerFile> kExplorerFiles;

/// Writes the page's files into `folder`, index.html last. It loads its data from `folder`/data:
/// index.js and heads-NNNNN.js.
void write_explorer_page(const std::filesystem::path& folder);

}  // namespace lorsa::analysis
