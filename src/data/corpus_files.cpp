#include "data/corpus_files.h"

#include <glob.h>

#include <algorithm>
#include <limits>
#include <set>

#include "core/file_content.h"
#include "data/token_file.h"
#include "io/input_stream.h"
#include "lorsa/core/error.h"

namespace lorsa::data {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> matches(const std::string& pattern) {
  glob_t found{};
  // Unsorted, because glob's order depends on the locale.
  const int code = glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found);
  std::vector<fs::path> paths(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  LORSA_CHECK(code == 0 || code == GLOB_NOMATCH, IoError,
              "data.files: {}: the folder cannot be read", pattern);
  LORSA_CHECK(!paths.empty(), ConfigError, "data.files: {}: no file matches", pattern);
  std::sort(paths.begin(), paths.end());
  return paths;
}

bool is_one_of(Content content, std::initializer_list<Content> some) {
  return std::find(some.begin(), some.end(), content) != some.end();
}

[[noreturn]] void refuse_content(const fs::path& path,
                                 const std::string& expected,
                                 const FileContent& found,
                                 const std::string& next) {
  throw FormatError(formatted("{}: expected {} as the name says, found {}{}{}", path, expected,
                              found.found, next.empty() ? "" : "; ", next));
}

void check_packing(const fs::path& path, const FileContent& file) {
  const bool gzip = path.extension() == ".gz";
  if (is_one_of(file.content, {Content::kUnknown, gzip ? Content::kGzip : Content::kZstd})) {
    return;
  }
  const bool text = is_one_of(file.content, {Content::kText, Content::kJson});
  refuse_content(path, gzip ? "gzip data" : "zstd data", file,
                 text ? "it is not packed: rename it without that ending"
                 : file.content == Content::kGzip ? "rename it to end in .gz"
                 : file.content == Content::kZstd ? "rename it to end in .zst"
                                                  : file.next);
}

/// content_of() what a text file unpacks to; kUnknown where it is damaged, which its reading says.
FileContent unpacked_content(const fs::path& path) {
  std::string head(kContentBytes, '\0');
  size_t size = 0;
  try {
    const auto stream = io::open_input_stream(path);
    for (size_t got = 1; got > 0 && size < head.size(); size += got) {
      got = stream->read(head.data() + size, head.size() - size);
    }
  } catch (const FormatError&) {
    return {};
  }
  head.resize(size);
  // The size only tells pointers and answers of servers from longer texts.
  const uint64_t unpacked = size < kContentBytes ? size : std::numeric_limits<uint64_t>::max();
  return content_of(head, io::is_packed(path) ? unpacked : uint64_t{fs::file_size(path)});
}

void check_text(const fs::path& path, CorpusKind kind) {
  const FileContent file = unpacked_content(path);
  // A text may well be a page's source, and a line may hold a "message".
  const bool may_be_text =
      is_one_of(file.content,
                {Content::kUnknown, Content::kText, Content::kJson, Content::kServerAnswer}) ||
      (kind == CorpusKind::kText && is_one_of(file.content, {Content::kWebPage, Content::kXml}));
  if (may_be_text) {
    return;
  }
  const std::string name = path.filename().string();
  refuse_content(path, kind == CorpusKind::kText ? "text" : "lines of JSON", file,
                 file.content == Content::kGzip && !io::is_packed(path)
                     ? formatted("rename it to {}.gz, or unpack it", name)
                 : file.content == Content::kZstd && !io::is_packed(path)
                     ? formatted("rename it to {}.zst, or unpack it", name)
                     : file.next);
}

void check_ids(const fs::path& path) {
  constexpr int64_t kTellingBytes = 64;  // fewer ids may look like text
  const FileContent file = content_of_file(path);
  const bool texts =
      checked_size(path) >= kTellingBytes &&
      is_one_of(file.content, {Content::kText, Content::kJson, Content::kServerAnswer,
                               Content::kWebPage, Content::kXml});
  // Ids may begin with the bytes of marks that are shorter than those.
  if (texts || is_one_of(file.content,
                         {Content::kGitLfsPointer, Content::kGitAnnexPointer, Content::kZstd,
                          Content::kTar, Content::kZip, Content::kTorchZip, Content::kSafetensors,
                          Content::kHdf5, Content::kNumpy, Content::kOtherFormat})) {
    refuse_content(path, "token ids without a header", file,
                   file.content == Content::kNumpy  ? "rename it to end in .npy"
                   : file.content == Content::kText ? "text must end in .txt or .jsonl"
                                                    : file.next);
  }
}

}  // namespace

void check_content(const fs::path& path) {
  refuse_unfinished_download(path);
  if (io::is_packed(path)) {
    check_packing(path, content_of_file(path));
  }
  switch (corpus_kind(path)) {
    case CorpusKind::kJsonLines:
    case CorpusKind::kText:
      return check_text(path, corpus_kind(path));
    case CorpusKind::kBin:
      return check_ids(path);
    case CorpusKind::kNpy:
      return refuse_other_content(path, "a .npy file", {Content::kNumpy});
  }
}

CorpusKind corpus_kind(const fs::path& path) {
  const bool packed = io::is_packed(path);
  const std::string suffix = (packed ? path.stem() : path).extension().string();
  if (suffix == ".jsonl") {
    return CorpusKind::kJsonLines;
  }
  if (suffix == ".txt") {
    return CorpusKind::kText;
  }
  const bool unfinished = suffix == ".incomplete" || suffix == ".part" || suffix == ".crdownload" ||
                          suffix == ".download";
  LORSA_CHECK(!packed && (suffix == ".npy" || suffix == ".bin"), ConfigError,
              "data.files: {}: expected a name ending in .jsonl or .txt (.gz or .zst may follow), "
              ".npy or .bin{}",
              path,
              unfinished ? "; this one is of an unfinished download, to be gone on with" : "");
  return suffix == ".npy" ? CorpusKind::kNpy : CorpusKind::kBin;
}

int64_t checked_size(const fs::path& path) {
  std::error_code code;
  const fs::file_status status = fs::status(path, code);
  LORSA_CHECK(fs::exists(status), IoError, "{}: corpus file cannot be opened: {} (data.files){}",
              path, code ? code.message() : "No such file or directory", why_absent(path));
  LORSA_CHECK(fs::is_regular_file(status), IoError,
              "{}: expected a corpus file, found {} (data.files)", path,
              fs::is_directory(status) ? "a folder: name its files, as FOLDER/*.jsonl"
                                       : "a pipe or a device: write its content to a file first");
  const auto size = static_cast<int64_t>(fs::file_size(path));
  LORSA_CHECK(size > 0, FormatError, "{}: corpus file is empty (0 bytes)", path);
  return size;
}

std::vector<fs::path> corpus_files(const CorpusConfig& config) {
  LORSA_CHECK(!config.files.empty(), ConfigError, "data.files: expected at least one file");
  std::vector<fs::path> files;
  std::set<fs::path> seen;
  for (const std::string& entry : config.files) {
    const bool pattern = entry.find_first_of("*?[") != std::string::npos && !fs::exists(entry);
    for (const fs::path& path : pattern ? matches(entry) : std::vector<fs::path>{entry}) {
      static_cast<void>(corpus_kind(path));
      static_cast<void>(checked_size(path));
      check_content(path);
      LORSA_CHECK(seen.insert(fs::weakly_canonical(path)).second, ConfigError,
                  "data.files: {}: the file is named twice", path);
      files.push_back(path);
    }
  }
  return files;
}

int64_t most_tokens_of_corpus(const CorpusConfig& config) {
  constexpr int64_t kUnknown = std::numeric_limits<int64_t>::max();
  // A token covers at least one byte of a document, and a document costs at least one byte more
  // than its text, which pays for the separator behind it. Normal form C makes a text at most three
  // times as long.
  constexpr int64_t kGrowth = 3;
  int64_t tokens = 0;
  for (const fs::path& path : corpus_files(config)) {
    if (io::is_packed(path)) {
      return kUnknown;
    }
    const CorpusKind kind = corpus_kind(path);
    tokens += kind == CorpusKind::kJsonLines || kind == CorpusKind::kText
                  ? kGrowth * checked_size(path)
                  : TokenFile(path, config.token_dtype).most_tokens();
  }
  return tokens;
}

}  // namespace lorsa::data
