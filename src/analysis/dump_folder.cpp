#include "analysis/dump_folder.h"

#include <string>

#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"

namespace lorsa::analysis {
namespace {

namespace fs = std::filesystem;

constexpr const char* kOld = ".old";  // where a dump that is being replaced waits

void remove_folder(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  LORSA_CHECK(!error, IoError, path.string(), ": cannot remove: ", error.message());
}

bool is_dump(const fs::path& folder) {
  if (!fs::exists(folder / kDumpIndex)) {
    return false;
  }
  const io::Json index = io::read_json(folder / kDumpIndex);
  const auto schema = index.find("schema");
  return schema != index.end() && schema->is_string() &&
         schema->get<std::string>().rfind("lorsa-dump-", 0) == 0;
}

/// True if a killed dump may have left this: nothing but files that a dump writes.
bool is_leftover(const fs::path& folder) {
  if (!fs::is_directory(folder)) {
    return false;
  }
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name != "explorer" && name.rfind("heads-", 0) != 0 && name.rfind(kDumpIndex, 0) != 0) {
      return false;
    }
  }
  return true;
}

/// "dump/" and "dump" are the same folder.
fs::path without_slash(const fs::path& path) {
  const fs::path normal = path.lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

fs::path beside(const fs::path& path, const char* suffix) {
  return fs::path(path.string() + suffix);
}

}  // namespace

DumpFolder::DumpFolder(const fs::path& out)
    : final_(without_slash(out)), temporary_(beside(final_, ".tmp")) {
  LORSA_CHECK(!final_.empty() && final_.filename() != "." && final_.filename() != "..",
              ConfigError,
              "out: \"",
              out.string(),
              "\" names no new folder");
  if (fs::exists(final_)) {
    LORSA_CHECK(fs::is_directory(final_) && (fs::is_empty(final_) || is_dump(final_)),
                ConfigError,
                final_.string(),
                ": exists and is no dump of heads (no ",
                kDumpIndex,
                " of one); give another --out");
  }
  for (const fs::path& path : {temporary_, beside(final_, kOld)}) {
    LORSA_CHECK(!fs::exists(path) || is_leftover(path),
                ConfigError,
                path.string(),
                ": is in the way and holds other files; remove it or give another --out");
  }
  remove_folder(temporary_);
  io::make_directories(temporary_);
}

DumpFolder::~DumpFolder() {
  if (committed_) {
    return;
  }
  std::error_code error;
  fs::remove_all(temporary_, error);
  if (error) {
    log_warning(temporary_.string(), ": cannot remove: ", error.message());
  }
}

void DumpFolder::commit() {
  const fs::path old = beside(final_, kOld);
  const bool replaces = fs::exists(final_);
  if (replaces) {
    remove_folder(old);
    io::rename_durably(final_, old);
  }
  io::rename_durably(temporary_, final_);
  committed_ = true;
  if (replaces) {
    remove_folder(old);
  }
}

}  // namespace lorsa::analysis
