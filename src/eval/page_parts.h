#pragma once

#include <string_view>

namespace lorsa::eval {

/// The files of src/eval/page, embedded by the build: index.html and page.js.
extern const std::string_view kEvalHtml;
extern const std::string_view kEvalScript;

}  // namespace lorsa::eval
