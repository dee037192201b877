#include <zstd.h>

#include "io/input_stream.h"
#include "lorsa/core/error.h"

namespace lorsa::io {
namespace {

class ZstdStream : public InputStream {
 public:
  explicit ZstdStream(const std::filesystem::path& path)
      : path_(path), file_(open_plain_stream(path)), block_(ZSTD_DStreamInSize()) {
    LORSA_CHECK(state_ != nullptr, Error, "{}: zstd: no memory", path);
    // Corpora are packed with --long=31 too; memory is taken as a frame asks for it.
    ZSTD_DCtx_setParameter(state_.get(), ZSTD_d_windowLogMax, 31);
  }

  size_t read(char* data, size_t size) override {
    ZSTD_outBuffer out{data, size, 0};
    while (out.pos == 0) {
      // Behind a full output buffer there may be more to come without further input.
      if (in_.pos == in_.size && !more_to_flush_ && !refill()) {
        LORSA_CHECK(!in_frame_, FormatError, "{}expected zstd data, found the end of the file",
                    where());
        return 0;
      }
      const size_t left = ZSTD_decompressStream(state_.get(), &out, &in_);
      LORSA_CHECK(ZSTD_isError(left) == 0, FormatError, "{}damaged zstd data: {}", where(),
                  ZSTD_getErrorName(left));
      in_frame_ = left != 0;
      more_to_flush_ = out.pos == out.size && left != 0;
    }
    return out.pos;
  }

  [[nodiscard]] uint64_t file_bytes_read() const override {
    return file_->file_bytes_read() - (in_.size - in_.pos);
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* state) const { ZSTD_freeDCtx(state); }
  };

  bool refill() {
    in_ = {block_.data(), file_->read(block_.data(), block_.size()), 0};
    return in_.size > 0;
  }

  [[nodiscard]] std::string where() const {
    return formatted("{}: byte {}: ", path_, file_bytes_read());
  }

  std::filesystem::path path_;
  std::unique_ptr<InputStream> file_;
  std::vector<char> block_;
  std::unique_ptr<ZSTD_DCtx, Free> state_{ZSTD_createDCtx()};
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool in_frame_ = false;
  bool more_to_flush_ = false;
};

}  // namespace

std::unique_ptr<InputStream> open_zstd_stream(const std::filesystem::path& path) {
  return std::make_unique<ZstdStream>(path);
}

}  // namespace lorsa::io
