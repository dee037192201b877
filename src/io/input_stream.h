#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace lorsa::io {

/// The bytes of a file from its beginning to its end.
class InputStream {
 public:
  InputStream() = default;
  virtual ~InputStream() = default;
  InputStream(const InputStream&) = delete;
  InputStream& operator=(const InputStream&) = delete;

  /// Puts up to `size` > 0 bytes into `data` and returns how many; 0 at the end only. Throws
  /// IoError, or FormatError if packed data are damaged or cut, naming the file and the place in
  /// it.
  virtual size_t read(char* data, size_t size) = 0;

  /// Bytes of the file, packed as they lie there, that have been taken from it.
  [[nodiscard]] virtual uint64_t file_bytes_read() const = 0;
};

/// Opens a file; the content of one whose name ends in .gz or .zst comes unpacked, of several
/// members or frames one after the other. Throws IoError.
[[nodiscard]] std::unique_ptr<InputStream> open_input_stream(const std::filesystem::path& path);

/// The streams that open_input_stream() chooses from.
[[nodiscard]] std::unique_ptr<InputStream> open_plain_stream(const std::filesystem::path& path);
[[nodiscard]] std::unique_ptr<InputStream> open_gzip_stream(const std::filesystem::path& path);
[[nodiscard]] std::unique_ptr<InputStream> open_zstd_stream(const std::filesystem::path& path);

/// Whether open_input_stream() unpacks a file of this name.
[[nodiscard]] bool is_packed(const std::filesystem::path& path);

/// Reads the text of a file line by line, without the byte order mark that it may begin with.
class LineReader {
 public:
  /// Throws as open_input_stream() and reading do, and FormatError for UTF-16 and UTF-32.
  explicit LineReader(const std::filesystem::path& path);

  /// The next line without its "\n"; false behind the last one, which needs no "\n".
  bool next(std::string& line);

  /// All that next() has not handed out.
  [[nodiscard]] std::string rest();

  [[nodiscard]] uint64_t file_bytes_read() const { return stream_->file_bytes_read(); }

 private:
  std::unique_ptr<InputStream> stream_;
  std::vector<char> block_;
  size_t begin_ = 0;  ///< of what is not handed out yet
  size_t end_ = 0;
};

}  // namespace lorsa::io
