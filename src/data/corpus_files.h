#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "lorsa/data/corpus.h"

namespace lorsa::data {

enum class CorpusKind { kJsonLines, kText, kNpy, kBin };

/// What a file's name says it holds. ConfigError for another suffix.
[[nodiscard]] CorpusKind corpus_kind(const std::filesystem::path& path);

/// The files that `data.files` names, in its order, those of one pattern in the order of their
/// bytes. A file counts as a name where it is there, else `*`, `?` and `[...]` in it make it a
/// pattern. Throws ConfigError for none, for a pattern that matches nothing and for a file named
/// twice, and what checked_size() throws.
[[nodiscard]] std::vector<std::filesystem::path> corpus_files(const CorpusConfig& config);

/// Bytes of a corpus file. IoError if it cannot be read, FormatError if it is empty.
[[nodiscard]] int64_t checked_size(const std::filesystem::path& path);

}  // namespace lorsa::data
