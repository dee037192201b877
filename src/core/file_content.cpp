#include "core/file_content.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "lorsa/core/error.h"
#include "lorsa/core/utf8.h"

namespace lorsa {
namespace {

using namespace std::string_view_literals;

constexpr const char* kFetchAgain = "the download or the writing was cut off: fetch it again";
constexpr const char* kUnpack =
    "unpack it (a corpus may stay packed: its name must then end in .gz or .zst)";

/// Formats that are told by bytes at a fixed place. Text must not be taken for one of them, so each
/// has a byte that no text has, or is long.
struct Signature {
  size_t offset;
  std::string_view bytes;
  Content content;
  const char* found;
  const char* next;
};

constexpr std::array kSignatures = {
    Signature{0, "\x1f\x8b\x08"sv, Content::kGzip, "gzip data", kUnpack},
    Signature{0, "\x28\xb5\x2f\xfd"sv, Content::kZstd, "zstd data", kUnpack},
    Signature{0, "\xfd\x37zXZ\0"sv, Content::kOtherPacked, "xz data", kUnpack},
    Signature{4, "1AY&SY"sv, Content::kOtherPacked, "bzip2 data", kUnpack},
    Signature{0, "\x04\x22\x4d\x18"sv, Content::kOtherPacked, "lz4 data", kUnpack},
    Signature{0, "7z\xbc\xaf\x27\x1c"sv, Content::kOtherPacked, "a 7z archive", "unpack it"},
    Signature{0, "Rar!\x1a\x07"sv, Content::kOtherPacked, "a rar archive", "unpack it"},
    Signature{257, "ustar"sv, Content::kTar, "a tar archive", "unpack it"},
    Signature{5,
              "\0\0\0"sv,  // behind "GGUF" and a small version
              Content::kGguf, "a GGUF file",
              "scripts/gguf_to_hf.py makes a Hugging Face folder of it"},
    Signature{0, "\x89HDF\r\n\x1a\n"sv, Content::kHdf5, "an HDF5 file", ""},
    Signature{0, "\x93NUMPY"sv, Content::kNumpy, "a .npy file of NumPy", ""},
    Signature{0, "PAR1\x15"sv, Content::kOtherFormat, "a Parquet file",
              "write its text as .jsonl, one object a line"},
    Signature{0, "ARROW1\0\0"sv, Content::kOtherFormat, "an Arrow file",
              "write its text as .jsonl, one object a line"},
    Signature{0, "SQLite format 3\0"sv, Content::kOtherFormat, "an SQLite database", ""},
    Signature{0, "%PDF-"sv, Content::kOtherFormat, "a PDF file", ""},
};

std::optional<FileContent> by_signature(std::string_view head) {
  for (const Signature& one : kSignatures) {
    const bool fits = head.size() >= one.offset + one.bytes.size() &&
                      head.substr(one.offset, one.bytes.size()) == one.bytes;
    const bool named = (one.content != Content::kGguf || head.starts_with("GGUF")) &&
                       (one.bytes != "1AY&SY"sv || head.starts_with("BZh"));
    if (fits && named) {
      return FileContent{one.content, one.found, one.next};
    }
  }
  return std::nullopt;
}

uint64_t little_endian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i > 0; --i) {
    value = value << 8U | static_cast<unsigned char>(bytes[i - 1]);
  }
  return value;
}

/// Zip archives, by the name of their first entry.
std::optional<FileContent> by_zip_entry(std::string_view head) {
  constexpr size_t kNameAt = 30;
  if (!head.starts_with("PK\x03\x04"sv) || head.size() < kNameAt) {
    return std::nullopt;
  }
  const std::string_view name =
      head.substr(kNameAt, static_cast<size_t>(little_endian(head.substr(26, 2))));
  // torch.save writes <name>/data.pkl first, newer ones with <name>/byteorder behind it.
  if (name.ends_with("/data.pkl") || name.ends_with("/byteorder") || name.ends_with("/version")) {
    return FileContent{Content::kTorchZip, "an archive of torch.save",
                       "write its tensors with safetensors.torch.save_file(torch.load(FILE, "
                       "map_location=\"cpu\", weights_only=True), NEW)"};
  }
  return FileContent{Content::kZip,
                     name.ends_with(".npy") ? "an .npz archive of NumPy" : "a zip archive",
                     name.ends_with(".npy") ? "save its array as .npy" : "unpack it"};
}

bool is_safetensors(std::string_view head) {
  constexpr uint64_t kMaxHeaderBytes = 100'000'000;
  return head.size() > 8 && head[8] == '{' && little_endian(head.substr(0, 8)) <= kMaxHeaderBytes;
}

/// UTF-8 without control characters; where the file goes on, the last character may be cut off.
bool is_text(std::string_view head, bool goes_on) {
  const bool controls = std::any_of(head.begin(), head.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n' && c != '\r' &&
            c != '\f') ||
           c == 0x7f;
  });
  const size_t invalid = find_invalid_utf8(head);
  return !controls &&
         (invalid == std::string_view::npos || (goes_on && invalid + 3 >= head.size()));
}

std::string_view without_mark_and_space(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) {
    text.remove_prefix(3);
  }
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first == std::string_view::npos ? std::string_view() : text.substr(first);
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return result;
}

/// The beginning of a text for a message: one line without control characters, in quotes.
std::string quoted_beginning(std::string_view text, size_t longest) {
  std::string line = replace_invalid_utf8(text.substr(0, longest));
  for (char& c : line) {
    c = static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  while (!line.empty() && line.back() == ' ') {
    line.pop_back();
  }
  return formatted("{}{}{}{}", '"', line, text.size() > longest ? "..." : "", '"');
}

/// What stands between `open` and `close`, empty if it does not.
std::string_view between(std::string_view text, std::string_view open, std::string_view close) {
  const size_t at = lower(text).find(open);
  const size_t first = at == std::string_view::npos ? at : at + open.size();
  const size_t last = first == std::string_view::npos ? first : lower(text).find(close, first);
  return last == std::string_view::npos ? std::string_view() : text.substr(first, last - first);
}

FileContent git_lfs_pointer(std::string_view head) {
  const size_t at = head.find("\nsize ");
  std::string size;
  for (size_t i = at + 6; at != std::string_view::npos && i < head.size() && head[i] >= '0' &&
                          head[i] <= '9' && size.size() < 20;
       ++i) {
    size += head[i];
  }
  return {Content::kGitLfsPointer,
          formatted("a Git LFS pointer: the file itself{} was not fetched",
                    size.empty() ? "" : formatted(", {} bytes,", size)),
          "run git lfs pull in the clone (git lfs install before that, once), or download the file "
          "itself"};
}

std::optional<FileContent> by_markup(std::string_view text) {
  const std::string small = lower(text.substr(0, 64));
  for (const char* tag : {"<!doctype html", "<html", "<head", "<body", "<script", "<title"}) {
    if (small.starts_with(tag)) {
      const std::string_view title = between(text, "<title>", "</title>");
      return FileContent{
          Content::kWebPage,
          formatted(
              "a web page (HTML){}",
              title.empty() ? "" : formatted(" with the title {}", quoted_beginning(title, 80))),
          "the address gave a page instead of the file: log in or accept the terms there, and take "
          "the address of the file itself (.../resolve/main/...)"};
    }
  }
  if (small.starts_with("<?xml") || small.starts_with("<error>")) {
    const std::string_view code = between(text, "<code>", "</code>");
    return FileContent{Content::kXml,
                       formatted("an XML document{}",
                                 code.empty() ? "" : formatted(" with the error code {}", code)),
                       "a store answers so when it refuses a file: renew the address or the "
                       "permission and download again"};
  }
  return std::nullopt;
}

bool is_server_answer(std::string_view text, uint64_t file_bytes) {
  constexpr uint64_t kMaxAnswerBytes = 4096;
  if (file_bytes > kMaxAnswerBytes || !text.starts_with('{')) {
    return false;
  }
  const std::string_view key = between(text, "\"", "\"");
  constexpr std::array kKeys = {"error"sv,  "errors"sv,        "message"sv,
                                "detail"sv, "error_message"sv, "statusCode"sv};
  return std::find(kKeys.begin(), kKeys.end(), key) != kKeys.end();
}

std::optional<FileContent> by_text(std::string_view head, uint64_t file_bytes) {
  if (!is_text(head, head.size() < file_bytes)) {
    return std::nullopt;
  }
  for (const char* line :
       {"version https://git-lfs.github.com/spec/", "version https://hawser.github.com/spec/"}) {
    if (head.starts_with(line) && file_bytes <= kContentBytes) {
      return git_lfs_pointer(head);
    }
  }
  if (head.starts_with("/annex/objects/") && file_bytes <= kContentBytes) {
    return FileContent{Content::kGitAnnexPointer,
                       "a pointer of git-annex: the file itself was not fetched",
                       "run git annex get (or datalad get) on it"};
  }
  const std::string_view text = without_mark_and_space(head);
  if (auto markup = by_markup(text)) {
    return markup;
  }
  constexpr size_t kShown = 120;
  if (is_server_answer(text, file_bytes)) {
    return FileContent{Content::kServerAnswer,
                       formatted("the answer of a server, {}", quoted_beginning(text, kShown)),
                       "do what it asks for (log in, accept the model's terms, check the name) and "
                       "download again"};
  }
  if (text.starts_with('{') || text.starts_with('[')) {
    return FileContent{Content::kJson, "JSON", ""};
  }
  return FileContent{Content::kText,
                     text.empty() ? std::string("blank text")
                                  : formatted("text of {} bytes that begins {}", file_bytes,
                                              quoted_beginning(text, 60)),
                     "is it the right file? A failed download leaves such a text, too"};
}

bool is_utf16(std::string_view head) {
  return head.starts_with("\xff\xfe") || head.starts_with("\xfe\xff") ||
         (head.size() >= 4 && (head[0] == '{' || head[0] == '[') && head[1] == 0 && head[2] != 0 &&
          head[3] == 0);
}

bool is_pickle(std::string_view head) {
  return head.size() > 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5;
}

}  // namespace

FileContent content_of(std::string_view head, uint64_t file_bytes) {
  if (file_bytes == 0 || head.empty()) {
    return {Content::kEmpty, "an empty file (0 bytes)", kFetchAgain};
  }
  if (std::all_of(head.begin(), head.end(), [](char c) { return c == 0; })) {
    return {Content::kZeros, "zero bytes",
            "a download that never came to its bytes, or a damaged disk: fetch it again"};
  }
  // First, for the length of a header may look like another format's mark.
  if (is_safetensors(head)) {
    return {Content::kSafetensors, "a safetensors file", ""};
  }
  if (auto known = by_signature(head)) {
    return *known;
  }
  if (auto zip = by_zip_entry(head)) {
    return *zip;
  }
  if (auto text = by_text(head, file_bytes)) {
    return *text;
  }
  if (is_utf16(head)) {
    return {Content::kUtf16, "text in UTF-16", "save it as UTF-8"};
  }
  if (is_pickle(head)) {
    return {Content::kPickle, "a pickle of Python, as torch.save wrote before PyTorch 1.6",
            "load and save it once in Python with a newer torch"};
  }
  return {};
}

FileContent content_of_file(const std::filesystem::path& path) {
  struct stat status {};

  // Opening a pipe, even for a moment, would be seen by who writes to it.
  const bool regular = ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
  const int fd = regular ? ::open(path.c_str(), O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) {
    return {};
  }
  std::array<char, kContentBytes> head{};
  const ssize_t got = ::pread(fd, head.data(), head.size(), 0);
  ::close(fd);
  return got < 0 ? FileContent{}
                 : content_of(std::string_view(head.data(), static_cast<size_t>(got)),
                              static_cast<uint64_t>(status.st_size));
}

void refuse_other_content(const std::filesystem::path& path,
                          const std::string& expected,
                          std::initializer_list<Content> accepted) {
  const FileContent file = content_of_file(path);
  if (file.content == Content::kUnknown ||
      std::find(accepted.begin(), accepted.end(), file.content) != accepted.end()) {
    return;
  }
  throw FormatError(formatted("{}: expected {}, found {}{}{}", path, expected, file.found,
                              file.next.empty() ? "" : "; ", file.next));
}

}  // namespace lorsa
