#include "metrics/page.h"

#include <array>
#include <cassert>
#include <utility>

#include "lorsa/core/error.h"
#include "lorsa/core/utf8.h"

namespace lorsa::metrics {
namespace {

/// The data as they stand in the page's script element. Only "<" could end that element, and it
/// occurs in texts alone, where its escape means the same.
std::string data_text(const io::Json& data) {
  std::string text;
  for (const char byte : data.dump()) {
    if (byte == '<') {
      text += "\\u003c";
    } else {
      text += byte;
    }
  }
  return text;
}

}  // namespace

std::string make_page(const PageParts& parts, const io::Json& data) {
  const std::string as_text = data_text(data);
  const std::array<std::pair<std::string_view, std::string_view>, 3> marks{
      {{"{{style}}", parts.style}, {"{{data}}", as_text}, {"{{script}}", parts.script}}};
  std::string text;
  std::string_view rest = parts.html;
  for (const auto& [mark, part] : marks) {
    const size_t at = rest.find(mark);
    assert(at != std::string_view::npos);
    text.append(rest.substr(0, at)).append(part);
    rest.remove_prefix(at + mark.size());
  }
  return text.append(rest);
}

void make_valid_utf8(io::Json& value) {
  if (value.is_string()) {
    value = replace_invalid_utf8(value.get<std::string>());
  } else if (value.is_structured()) {
    for (io::Json& part : value) {
      make_valid_utf8(part);
    }
  }
}

void check_page_name(const std::filesystem::path& out) {
  LORSA_CHECK(out.extension() == ".html" || out.extension() == ".htm", ConfigError,
              "{}: must end in .html or .htm, so that it replaces no other file", out);
}

}  // namespace lorsa::metrics
