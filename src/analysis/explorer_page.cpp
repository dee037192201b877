#include "analysis/explorer_page.h"

#include "lorsa/io/files.h"

namespace lorsa::analysis {

void write_explorer_page(const std::filesystem::path& folder) {
  io::make_directories(folder / "data");
  io::write_file(folder / "style.css", kExplorerStyle);
  io::write_file(folder / "explorer.js", kExplorerScript);
  io::write_file(folder / "index.html", kExplorerHtml);
}

}  // namespace lorsa::analysis
