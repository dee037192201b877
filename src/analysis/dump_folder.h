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
/// killed dump left but for its saved state, with kRestart that too. Without commit() the
/// destructor removes everything, unless a state has been saved.
class DumpFolder {
 public:
  enum class Start { kContinue, kRestart };

  DumpFolder(const std::filesystem::path& out, Start start);

  /// Where to write.
  [[nodiscard]] const std::filesystem::path& path() const { return pending_->path(); }

  /// Where it will stand.
  [[nodiscard]] const std::filesystem::path& final_path() const { return final_; }

  /// Where the state of an unfinished dump lies.
  [[nodiscard]] std::filesystem::path state_path() const { return path() / "pass.state"; }

  [[nodiscard]] bool has_state() const { return std::filesystem::exists(state_path()); }

  /// Says that state_path() has been written: what is there stays without commit().
  void keep_state() { pending_->keep_unfinished(); }

  /// Removes the state and puts the folder in place of an older dump. Throws IoError; the older one
  /// is then still there, at worst as `<out>.old`.
  void commit();

 private:
  std::filesystem::path final_;
  std::optional<io::PendingFolder> pending_;  // made once what is in its way is cleared
};

}  // namespace lorsa::analysis
