#include "data/corpus_files.h"

#include <glob.h>

#include <algorithm>
#include <limits>
#include <set>

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
  LORSA_CHECK(code == 0 || code == GLOB_NOMATCH,
              IoError,
              "data.files: ",
              pattern,
              ": the folder cannot be read");
  LORSA_CHECK(!paths.empty(), ConfigError, "data.files: ", pattern, ": no file matches");
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

CorpusKind corpus_kind(const fs::path& path) {
  const bool packed = io::is_packed(path);
  const std::string suffix = (packed ? path.stem() : path).extension().string();
  if (suffix == ".jsonl") {
    return CorpusKind::kJsonLines;
  }
  if (suffix == ".txt") {
    return CorpusKind::kText;
  }
  LORSA_CHECK(!packed && (suffix == ".npy" || suffix == ".bin"),
              ConfigError,
              "data.files: ",
              path.string(),
              ": expected a name ending in .jsonl or .txt (.gz or .zst may follow), .npy or .bin");
  return suffix == ".npy" ? CorpusKind::kNpy : CorpusKind::kBin;
}

int64_t checked_size(const fs::path& path) {
  std::error_code code;
  const fs::file_status status = fs::status(path, code);
  LORSA_CHECK(fs::exists(status),
              IoError,
              path.string(),
              ": corpus file cannot be opened: ",
              code ? code.message() : "No such file or directory",
              " (data.files)");
  LORSA_CHECK(fs::is_regular_file(status),
              IoError,
              path.string(),
              ": expected a corpus file, found something else (data.files)");
  const auto size = static_cast<int64_t>(fs::file_size(path));
  LORSA_CHECK(size > 0, FormatError, path.string(), ": corpus file is empty (0 bytes)");
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
      LORSA_CHECK(seen.insert(fs::weakly_canonical(path)).second,
                  ConfigError,
                  "data.files: ",
                  path.string(),
                  ": the file is named twice");
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
