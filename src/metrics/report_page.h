#pragma once

#include <string_view>

namespace lorsa::metrics {

/// The report's parts as they stand in src/metrics/report, embedded by the build: index.html,
/// style.css, charts.js, plots.js and report.js. Style, charts and plots (bars and heat maps) serve
/// other pages of reports too.
extern const std::string_view kReportHtml;
extern const std::string_view kReportStyle;
extern const std::string_view kChartsScript;
extern const std::string_view kPlotsScript;
extern const std::string_view kReportScript;

}  // namespace lorsa::metrics
