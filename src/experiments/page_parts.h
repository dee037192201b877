#pragma once

#include <string_view>

namespace lorsa::experiments {

/// The files of src/experiments/page, embedded by the build: index.html, style.css and the scripts,
/// in the order in which they build on each other.
extern const std::string_view kSweepHtml;
extern const std::string_view kSweepStyle;
extern const std::string_view kSweepScript;

}  // namespace lorsa::experiments
