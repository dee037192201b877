#pragma once

// What a corpus file's name says, and whether its content is that. Token ids and text are read
// without a mark to know them by, so what is something else is refused before it is read.

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
/// twice, and what checked_size() and check_content() throw.
[[nodiscard]] std::vector<std::filesystem::path> corpus_files(const CorpusConfig& config);

/// Throws FormatError for a file whose first bytes, unpacked as its name says, are something else
/// than its name says: a Git LFS pointer, a web page, a packed file under another name. IoError if
/// it cannot be read.
void check_content(const std::filesystem::path& path);

/// Bytes of a corpus file. IoError if it cannot be read, FormatError if it is empty.
[[nodiscard]] int64_t checked_size(const std::filesystem::path& path);

}  // namespace lorsa::data
