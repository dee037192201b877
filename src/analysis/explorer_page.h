#pragma once

#include <filesystem>
#include <string_view>

namespace lorsa::analysis {

/// The explorer's files as they stand in src/analysis/explorer, embedded by the build.
extern const std::string_view kExplorerHtml;
extern const std::string_view kExplorerStyle;
extern const std::string_view kExplorerScript;

/// Writes index.html, style.css and explorer.js into `folder`. The page loads its data from
/// `folder`/data: index.js and heads-NNNNN.js.
void write_explorer_page(const std::filesystem::path& folder);

}  // namespace lorsa::analysis
