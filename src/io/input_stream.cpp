#include "io/input_stream.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "io/file_descriptor.h"
#include "lorsa/core/error.h"
#include "lorsa/core/text.h"

namespace lorsa::io {
namespace {

constexpr size_t kBlockBytes = size_t{256} << 10;

class PlainStream : public InputStream {
 public:
  explicit PlainStream(const std::filesystem::path& path) : path_(path), file_(path, O_RDONLY) {}

  size_t read(char* data, size_t size) override {
    for (;;) {
      const ssize_t got = ::read(file_.get(), data, size);
      if (got < 0 && errno == EINTR) {
        continue;
      }
      LORSA_CHECK(got >= 0, IoError, "{}", errno_message(path_, "cannot read"));
      done_ += static_cast<uint64_t>(got);
      return static_cast<size_t>(got);
    }
  }

  [[nodiscard]] uint64_t file_bytes_read() const override { return done_; }

 private:
  std::filesystem::path path_;
  FileDescriptor file_;
  uint64_t done_ = 0;
};

}  // namespace

std::unique_ptr<InputStream> open_plain_stream(const std::filesystem::path& path) {
  return std::make_unique<PlainStream>(path);
}

bool is_packed(const std::filesystem::path& path) {
  return path.extension() == ".gz" || path.extension() == ".zst";
}

std::unique_ptr<InputStream> open_input_stream(const std::filesystem::path& path) {
  if (path.extension() == ".gz") {
    return open_gzip_stream(path);
  }
  return path.extension() == ".zst" ? open_zstd_stream(path) : open_plain_stream(path);
}

LineReader::LineReader(const std::filesystem::path& path)
    : stream_(open_input_stream(path)), block_(kBlockBytes) {
  // A stream may hand out less than it is asked for, and a mark has up to four bytes.
  for (size_t got = 1; got > 0 && end_ < 4; end_ += got) {
    got = stream_->read(block_.data() + end_, block_.size() - end_);
  }
  begin_ = byte_order_mark({block_.data(), end_}, path.string());
}

bool LineReader::next(std::string& line) {
  line.clear();
  for (;;) {
    const char* first = block_.data() + begin_;
    const void* found = begin_ < end_ ? std::memchr(first, '\n', end_ - begin_) : nullptr;
    if (found != nullptr) {
      const auto size = static_cast<size_t>(static_cast<const char*>(found) - first);
      line.append(first, size);
      begin_ += size + 1;
      return true;
    }
    line.append(first, end_ - begin_);
    begin_ = 0;
    end_ = stream_->read(block_.data(), block_.size());
    if (end_ == 0) {
      return !line.empty();
    }
  }
}

std::string LineReader::rest() {
  std::string text;
  do {
    text.append(block_.data() + begin_, end_ - begin_);
    begin_ = 0;
    end_ = stream_->read(block_.data(), block_.size());
  } while (end_ > 0);
  return text;
}

}  // namespace lorsa::io
