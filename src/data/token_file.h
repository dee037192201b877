#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "io/file_descriptor.h"
#include "lorsa/data/corpus.h"

namespace lorsa::data {

/// Longest document that is made of a flat file: one without separators is cut there.
inline constexpr int64_t kMaxDocumentTokens = int64_t{1} << 20;

/// Token ids in a .npy (one or two dimensions, C order, little-endian integers) or .bin file (ids
/// without a header, `dtype` each).
///
/// Throws IoError, and FormatError for another kind of array, a size that does not fit, and ids
/// below 0 or above 2^31 - 1, with their place.
class TokenFile {
 public:
  TokenFile(const std::filesystem::path& path, TokenDtype dtype);

  /// The next document: a row of two dimensions, or of a flat file what lies before the next
  /// `separator`, which is left out. Nothing behind the last id.
  [[nodiscard]] std::optional<std::vector<int32_t>> next(std::optional<int32_t> separator);

  /// Ids of the file, and one for every document of two dimensions that will need a separator.
  [[nodiscard]] int64_t most_tokens() const;

  [[nodiscard]] int64_t bytes_read() const;

 private:
  void read_npy_header();
  void fill();

  std::filesystem::path path_;
  TokenDtype dtype_;
  io::FileDescriptor file_;
  int64_t data_offset_ = 0;
  int64_t num_ids_ = 0;
  int64_t row_ = 0;  ///< ids of a row; 0 for a flat file
  int64_t read_ = 0;
  std::vector<int32_t> block_;  ///< what follows, read ahead
  size_t next_in_block_ = 0;
};

}  // namespace lorsa::data
