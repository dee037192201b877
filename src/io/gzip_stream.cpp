#include <zlib.h>

#include <limits>

#include "io/input_stream.h"
#include "lorsa/core/error.h"

namespace lorsa::io {
namespace {

class GzipStream : public InputStream {
 public:
  explicit GzipStream(const std::filesystem::path& path)
      : path_(path), file_(open_plain_stream(path)), block_(size_t{128} << 10) {
    // 32: the header says whether it is gzip or zlib; 15: any window.
    LORSA_CHECK(inflateInit2(&state_, 32 + 15) == Z_OK, Error, "{}: zlib: no memory", path);
  }

  ~GzipStream() override { inflateEnd(&state_); }

  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;

  size_t read(char* data, size_t size) override {
    const auto room = static_cast<uInt>(std::min<size_t>(size, std::numeric_limits<uInt>::max()));
    state_.next_out = reinterpret_cast<Bytef*>(data);
    state_.avail_out = room;
    while (state_.avail_out == room) {
      if (state_.avail_in == 0 && !refill()) {
        LORSA_CHECK(!in_member_, FormatError,
                    "{}expected more gzip data, found the end of the file", where());
        return 0;
      }
      in_member_ = true;
      const int code = inflate(&state_, Z_NO_FLUSH);
      if (code == Z_STREAM_END) {
        in_member_ = false;
        inflateReset(&state_);  // for another member behind it
      } else {
        LORSA_CHECK(code == Z_OK || code == Z_BUF_ERROR, FormatError, "{}damaged gzip data: {}",
                    where(), state_.msg != nullptr ? state_.msg : zError(code));
      }
    }
    return room - state_.avail_out;
  }

  [[nodiscard]] uint64_t file_bytes_read() const override {
    return file_->file_bytes_read() - state_.avail_in;
  }

 private:
  bool refill() {
    const size_t got = file_->read(block_.data(), block_.size());
    state_.next_in = reinterpret_cast<Bytef*>(block_.data());
    state_.avail_in = static_cast<uInt>(got);
    return got > 0;
  }

  [[nodiscard]] std::string where() const {
    return formatted("{}: byte {}: ", path_, file_bytes_read());
  }

  std::filesystem::path path_;
  std::unique_ptr<InputStream> file_;
  std::vector<char> block_;
  z_stream state_{};
  bool in_member_ = false;
};

}  // namespace

std::unique_ptr<InputStream> open_gzip_stream(const std::filesystem::path& path) {
  return std::make_unique<GzipStream>(path);
}

}  // namespace lorsa::io
