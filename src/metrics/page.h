#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "lorsa/io/json.h"

namespace lorsa::metrics {

/// What a page is made of. `html` has the marks {{style}}, {{data}} and {{script}}, in this order.
struct PageParts {
  std::string_view html;
  std::string_view style;
  std::string_view script;
};

/// One HTML page that needs no other file and no network. Its script finds `data` as JSON in the
/// page's element "data"; texts in it must be UTF-8 and cannot become markup.
[[nodiscard]] std::string make_page(const PageParts& parts, const io::Json& data);

/// Replaces what is not UTF-8 in the texts of `value`: names of folders need not be, JSON has to.
void make_valid_utf8(io::Json& value);

/// Throws ConfigError unless `out` ends in .html or .htm.
void check_page_name(const std::filesystem::path& out);

}  // namespace lorsa::metrics
