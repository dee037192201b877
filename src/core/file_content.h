#pragma once

// What people really have in the place of a file: a pointer of Git LFS, a web page, an answer of a
// server, a packed file under another name, half a download. Readers ask here when their own
// parsing has failed, so that no good file can be refused by its first bytes; what would be read
// as something else (text, token ids) is asked about before.

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>

namespace lorsa {

/// What the first bytes of a file show it to be.
enum class Content {
  kUnknown,
  kEmpty,
  kZeros,
  kGitLfsPointer,
  kGitAnnexPointer,
  kWebPage,
  kXml,
  kServerAnswer,  ///< a small JSON object that begins with an error or a message
  kJson,
  kText,  ///< UTF-8 that is none of the above
  kUtf16,
  kGzip,
  kZstd,
  kOtherPacked,  ///< xz, bzip2, lz4, 7z, rar
  kTar,
  kZip,
  kTorchZip,  ///< torch.save since PyTorch 1.6
  kPickle,    ///< torch.save before, pickle.dump
  kSafetensors,
  kGguf,
  kHdf5,
  kNumpy,
  kOtherFormat  ///< Parquet, Arrow, SQLite, PDF
};

struct FileContent {
  Content content = Content::kUnknown;
  std::string found;  ///< "a web page (HTML)"; empty for kUnknown
  std::string next;   ///< what to do about it; may be empty
};

/// As many bytes of a file's beginning as content_of() makes use of.
inline constexpr size_t kContentBytes = 1024;

/// What a file of `file_bytes` bytes that begins with `head` is.
[[nodiscard]] FileContent content_of(std::string_view head, uint64_t file_bytes);

/// content_of() a regular file; kUnknown for what cannot be read.
[[nodiscard]] FileContent content_of_file(const std::filesystem::path& path);

/// Throws FormatError "<path>: expected <expected>, found ...; <next step>" if the file can be
/// told to be something else than `accepted`. Returns if it is one of those, or if nothing can be
/// told: the caller's own error says more then.
void refuse_other_content(const std::filesystem::path& path,
                          const std::string& expected,
                          std::initializer_list<Content> accepted);

/// Throws FormatError if a downloader's record beside the file says that the download goes on:
/// aria2 gives a file its name and full size before its bytes are there.
void refuse_unfinished_download(const std::filesystem::path& path);

/// Whether something has this name, a symbolic link to nothing too.
[[nodiscard]] bool is_there(const std::filesystem::path& path);

/// Why nothing can be read at `path`, as far as the file system shows it, to be appended to a
/// message: "; found x.incomplete beside it: ...", "; a symbolic link to ...". Empty if there is
/// nothing to say.
[[nodiscard]] std::string why_absent(const std::filesystem::path& path);

}  // namespace lorsa
