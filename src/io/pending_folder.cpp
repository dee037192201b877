#include "lorsa/io/pending_folder.h"

#include <system_error>

#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/io/files.h"

namespace lorsa::io {

namespace fs = std::filesystem;

PendingFolder::PendingFolder(const fs::path& final_path, Leftover leftover)
    : final_(without_trailing_slash(final_path)), temporary_(beside(final_, ".tmp")) {
  std::error_code unused;
  const fs::file_status found = fs::symlink_status(temporary_, unused);
  LORSA_CHECK(!fs::exists(found) || (leftover == Leftover::kContinue && fs::is_directory(found)),
              IoError, "{}: is in the way: remove it or write somewhere else", temporary_);
  make_directories(temporary_);
}

PendingFolder::~PendingFolder() {
  if (committed_ || keep_) {
    return;
  }
  std::error_code error;
  fs::remove_all(temporary_, error);
  if (error) {
    log_warning("{}: cannot remove: {}", temporary_, error.message());
  }
}

void PendingFolder::commit() {
  LORSA_CHECK(!committed_, IoError, "{}: committed twice", final_);
  const fs::path old = beside(final_, ".old");
  const bool replaces = fs::exists(final_);
  if (replaces) {
    remove_tree(old);
    rename_durably(final_, old);
  }
  rename_durably(temporary_, final_);
  committed_ = true;
  if (replaces) {
    remove_tree(old);
  }
}

void restore_replaced(const fs::path& final_path) {
  const fs::path name = without_trailing_slash(final_path);
  const fs::path old = beside(name, ".old");
  if (!fs::exists(name) && fs::exists(old)) {
    rename_durably(old, name);
  }
}

fs::path without_trailing_slash(const fs::path& path) {
  const fs::path normal = path.lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

fs::path beside(const fs::path& path, const char* suffix) {
  return fs::path(path.string() + suffix);
}

void remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  LORSA_CHECK(!error, IoError, "{}: cannot remove: {}", path, error.message());
}

}  // namespace lorsa::io
