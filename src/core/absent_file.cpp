#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "core/file_content.h"
#include "lorsa/core/error.h"

namespace lorsa {
namespace {

namespace fs = std::filesystem;

constexpr std::array kUnfinishedSuffixes = {".incomplete", ".part",     ".partial",
                                            ".crdownload", ".download", ".aria2"};
constexpr std::array kPackedSuffixes = {".gz", ".zst", ".xz", ".bz2", ".zip", ".tar.gz"};

fs::path with_suffix(const fs::path& path, const char* suffix) {
  return fs::path(path.string() + suffix);
}

/// A file of `folder` that is a download's unfinished part, of `name` if that is not empty.
fs::path unfinished_in(const fs::path& folder, const std::string& name) {
  std::error_code ignored;
  for (fs::directory_iterator entry(folder, ignored), end; !ignored && entry != end;
       entry.increment(ignored)) {
    const std::string found = entry->path().filename().string();
    if (found.ends_with(".incomplete") && found.starts_with(name)) {
      return entry->path();
    }
  }
  return {};
}

/// What is there of a file that is still to be downloaded, if anything.
fs::path unfinished_part_of(const fs::path& path) {
  for (const char* suffix : kUnfinishedSuffixes) {
    if (is_there(with_suffix(path, suffix))) {
      return with_suffix(path, suffix);
    }
  }
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  // hf download --local-dir keeps it in <folder>/.cache; the hub's cache in blobs/, named by
  // digest.
  const fs::path local =
      unfinished_in(folder / ".cache/huggingface/download", path.filename().string());
  if (!local.empty()) {
    return local;
  }
  return folder.parent_path().filename() == "snapshots"
             ? unfinished_in(folder.parent_path().parent_path() / "blobs", "")
             : fs::path();
}

std::string about_link(const fs::path& path) {
  std::error_code ignored;
  const std::string target = fs::read_symlink(path, ignored).string();
  const bool hub = target.find("blobs/") != std::string::npos;
  const bool annex = target.find(".git/annex/") != std::string::npos;
  return formatted("; it is a symbolic link to {}, which is not there{}", target,
                   hub ? ": a Hugging Face cache keeps its files in blobs/; fetch it again, and "
                         "copy caches with cp -rL"
                   : annex ? ": the file itself was not fetched; run git annex get (or datalad get)"
                           : "");
}

/// The first part of the path that is no folder, if it is not the last one.
std::string about_folders(const fs::path& path) {
  fs::path before;
  for (const fs::path& part : path.parent_path()) {
    before /= part;
    std::error_code ignored;
    const fs::file_status status = fs::status(before, ignored);
    if (!fs::exists(status)) {
      return formatted("; there is no folder {}", before);
    }
    if (!fs::is_directory(status)) {
      return formatted("; {} is a file, no folder", before);
    }
  }
  return "";
}

/// As who the process acts, not as who it was started.
bool may(const fs::path& path, int mode) {
  return ::faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) == 0;
}

std::string about_permission(const fs::path& path) {
  fs::path before;
  for (const fs::path& part : path) {
    before /= part;
    std::error_code ignored;
    const bool last = before == path;
    if (may(before, last ? R_OK : X_OK)) {
      continue;
    }
    return last ? "; its owner can give the permission with chmod a+r"
                : formatted(
                      "; the folder {} may not be entered: its owner can give the permission with "
                      "chmod a+rx",
                      before);
  }
  return "";
}

}  // namespace

bool is_there(const fs::path& path) {
  struct stat status {};

  return ::lstat(path.c_str(), &status) == 0;
}

std::string why_absent(const fs::path& path) {
  const std::string text = path.string();
  if (text.find("://") != std::string::npos) {
    return "; that is an address: files are read from the disk, download it first";
  }
  if (text.starts_with('~')) {
    return "; ~ is not expanded here: write the whole path";
  }

  struct stat status {};

  errno = 0;
  if (::stat(path.c_str(), &status) == 0) {
    return may(path, R_OK) ? "" : about_permission(path);
  }
  if (errno == EACCES) {
    return about_permission(path);
  }
  if (is_there(path)) {
    return about_link(path);
  }
  const std::string folders = about_folders(path);
  if (!folders.empty()) {
    return folders;
  }
  const fs::path part = unfinished_part_of(path);
  if (!part.empty()) {
    return formatted("; found {}: an unfinished download, to be gone on with", part);
  }
  for (const char* suffix : kPackedSuffixes) {
    if (is_there(with_suffix(path, suffix))) {
      return formatted("; found {}: unpack it", with_suffix(path, suffix));
    }
  }
  return "";
}

void refuse_unfinished_download(const fs::path& path) {
  const fs::path record = with_suffix(path, ".aria2");
  LORSA_CHECK(!is_there(record), FormatError,
              "{}: expected a finished file, found {} beside it: aria2 has not finished the "
              "download; run the same aria2c command again",
              path, record.filename());
}

}  // namespace lorsa
