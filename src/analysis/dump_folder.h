#pragma once

#include <filesystem>
#include <optional>

#include "lorsa/io/pending_folder.h"

namespace lorsa::analysis {

inline constexpr const char* kDumpSchema = "lorsa-dump-1";
inline constexpr const char* kDumpIndex = "index.json";

/// The folder of a dump while it is written: `<out>.tmp`, which becomes `<out>` with commit().
///
/// The constructor refuses (ConfigError) an `out` that holds anything but a dump, and clears what a
/// killed dump left. Without commit() the destructor removes everything.
class DumpFolder {
 public:
  explicit DumpFolder(const std::filesystem::path& out);

  /// Where to write.
  [[nodiscard]] const std::filesystem::path& path() const { return pending_->path(); }

  /// Where it will stand.
  [[nodiscard]] const std::filesystem::path& final_path() const { return final_; }

  /// Puts the folder in place of an older dump. Throws IoError; the older one is then still there,
  /// at worst as `<out>.old`.
  void commit() { pending_->commit(); }

 private:
  std::filesystem::path final_;
  std::optional<io::PendingFolder> pending_;  // made once what is in its way is cleared
};

}  // namespace lorsa::analysis
