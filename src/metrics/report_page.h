#pragma once

#include <string_view>

namespace lorsa::metrics {

/// The report's parts as they stand in src/metrics/report, embedded by the build. The page has the
/// marks {{style}}, {{data}} and {{script}}, in this order.
extern const std::string_view kReportHtml;
extern const std::string_view kReportStyle;
extern const std::string_view kReportScript;

}  // namespace lorsa::metrics
