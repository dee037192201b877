#include "analysis/explorer_page.h"

#include "lorsa/io/files.h"

namespace lorsa::analysis {

void write_explorer_page(const std::filesystem::path& folder) {
  io::make_directories(folder / "data");
  for (const ExplorerFile& file : kExplorerFiles) {
    io::write_file(folder / file.name, file.text);
  }
}

}  // namespace lorsa::analysis
