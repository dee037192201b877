#pragma once

#include <filesystem>

#include "lorsa/core/api.h"

namespace lorsa::io {

/// A folder being written as `<final>.tmp`; it appears under its name with commit() only.
///
/// Without commit() the destructor removes everything that was written, unless it is to be kept.
class LORSA_API PendingFolder {
 public:
  enum class Leftover { kRefuse, kContinue };

  /// Makes `<final>.tmp` and its parents. Throws IoError if something of that name is there; with
  /// kContinue a folder of that name is gone on with.
  explicit PendingFolder(const std::filesystem::path& final_path,
                         Leftover leftover = Leftover::kRefuse);
  ~PendingFolder();
  PendingFolder(const PendingFolder&) = delete;
  PendingFolder& operator=(const PendingFolder&) = delete;

  /// Where to write.
  [[nodiscard]] const std::filesystem::path& path() const { return temporary_; }

  /// From now on what is written stays without commit(), to be gone on with.
  void keep_unfinished() { keep_ = true; }

  /// Puts the folder under its name, durably, in place of what stands there. Throws IoError; what
  /// stood there is then still there, at worst as `<final>.old`.
  void commit();

 private:
  std::filesystem::path final_;
  std::filesystem::path temporary_;
  bool keep_ = false;
  bool committed_ = false;
};

/// Puts back what stood under the name of `final_path` before a commit() that a kill cut in two: it
/// lies beside as `<final>.old` then. Does nothing where the name is taken. Throws IoError.
LORSA_API void restore_replaced(const std::filesystem::path& final_path);

/// "out/" and "out" are the same folder.
[[nodiscard]] LORSA_API std::filesystem::path without_trailing_slash(
    const std::filesystem::path& path);

/// `path` with `suffix` behind its name.
[[nodiscard]] LORSA_API std::filesystem::path beside(const std::filesystem::path& path,
                                                     const char* suffix);

/// Removes a folder or file with all that it holds; nothing there is fine. Throws IoError.
LORSA_API void remove_tree(const std::filesystem::path& path);

}  // namespace lorsa::io
