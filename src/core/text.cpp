#include "lorsa/core/text.h"

#include <algorithm>
#include <array>
#include <iomanip>
#include <sstream>

#include "core/file_content.h"
#include "lorsa/core/error.h"
#include "lorsa/core/utf8.h"

namespace lorsa {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::string_view kUtf8Mark = "\xef\xbb\xbf"sv;
constexpr std::string_view kBlanks = " \t\r\v\f"sv;

/// "UTF-16" or "UTF-32" if the bytes are the first ones of such a text, else empty.
std::string_view wide_encoding(std::string_view beginning) {
  // UTF-16's mark begins UTF-32's little-endian one.
  if (beginning.starts_with("\xff\xfe\0\0"sv) || beginning.starts_with("\0\0\xfe\xff"sv)) {
    return "UTF-32";
  }
  if (beginning.starts_with("\xff\xfe"sv) || beginning.starts_with("\xfe\xff"sv)) {
    return "UTF-16";
  }
  // Text begins with an ASCII character almost always, JSON and YAML certainly.
  const auto is_zero = [&](size_t at) { return at < beginning.size() && beginning[at] == '\0'; };
  if (beginning.size() >= 4 && is_zero(1) && is_zero(2) && is_zero(0) != is_zero(3)) {
    return "UTF-32";
  }
  return beginning.size() >= 2 && is_zero(0) != is_zero(1) ? "UTF-16" : "";
}

std::string hex_byte(char byte) {
  std::ostringstream out;
  out << "0x" << std::hex << std::uppercase << std::setw(2) << std::setfill('0')
      << static_cast<unsigned>(static_cast<unsigned char>(byte));
  return out.str();
}

/// "where:line".
std::string place(const std::string& where, std::string_view text, size_t at) {
  return formatted(
      "{}:{}", where,
      1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
}

/// A file of another format is named as such, not by the first byte that no text has.
void refuse_other_format(std::string_view bytes, const std::string& where) {
  const FileContent what = content_of(bytes.substr(0, kContentBytes), bytes.size());
  constexpr std::array kText = {Content::kUnknown,      Content::kWebPage, Content::kXml,
                                Content::kServerAnswer, Content::kJson,    Content::kText,
                                Content::kUtf16};
  const bool text = std::find(kText.begin(), kText.end(), what.content) != kText.end();
  LORSA_CHECK(text, FormatError, "{}: expected text, found {}; {}", where, what.found, what.next);
}

}  // namespace

size_t byte_order_mark(std::string_view beginning, const std::string& where) {
  const std::string_view wide = wide_encoding(beginning);
  if (!wide.empty()) {
    refuse_other_format(beginning, where);
  }
  LORSA_CHECK(wide.empty(), FormatError,
              "{}: expected UTF-8, found {} (save as UTF-8, or: iconv -f {} -t UTF-8)", where, wide,
              wide);
  return beginning.starts_with(kUtf8Mark) ? kUtf8Mark.size() : 0;
}

std::string checked_text(std::string bytes, const std::string& where) {
  bytes.erase(0, byte_order_mark(bytes, where));
  const size_t zero = bytes.find('\0');
  const size_t invalid = find_invalid_utf8(bytes);
  if (zero != std::string::npos || invalid != std::string::npos) {
    refuse_other_format(bytes, where);
  }
  LORSA_CHECK(zero == std::string::npos, FormatError,
              "{}: expected text, found a NUL byte (is this a binary file?)",
              place(where, bytes, zero));
  LORSA_CHECK(invalid == std::string::npos, FormatError,
              "{}: expected UTF-8, found byte {} (Latin-1 or Windows-1252? convert it: iconv -f "
              "WINDOWS-1252 -t UTF-8)",
              place(where, bytes, invalid), hex_byte(bytes[invalid]));
  return bytes;
}

std::string with_line_feeds(std::string text) {
  size_t kept = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\r' || at + 1 == text.size() || text[at + 1] != '\n') {
      text[kept++] = text[at];
    }
  }
  text.resize(kept);
  return text;
}

std::string hex_digits(uint32_t value) {
  std::ostringstream out;
  out << std::hex << value;
  return out.str();
}

std::vector<std::string> filled_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const size_t last = line.find_last_not_of(kBlanks);
    if (last != std::string_view::npos) {
      lines.emplace_back(line.substr(0, last + 1));
    }
  }
  return lines;
}

}  // namespace lorsa
