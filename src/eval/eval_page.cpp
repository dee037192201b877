#include "lorsa/eval/eval_page.h"

#include <string>

#include "eval/page_parts.h"
#include "lorsa/core/error.h"
#include "lorsa/eval/metrics.h"
#include "lorsa/io/files.h"
#include "metrics/page.h"
#include "metrics/report_page.h"

namespace lorsa::eval {
namespace {

constexpr const char* kSchemaPrefix = "lorsa-eval-";

void check_report(const io::Json& report) {
  const auto schema = io::member<std::string>(report, "schema", "evaluation report");
  LORSA_CHECK(schema.rfind(kSchemaPrefix, 0) == 0, FormatError,
              "evaluation report: schema: expected {}..., found {}", kSchemaPrefix, schema);
}

}  // namespace

void write_eval_page(const io::Json& reports, const std::filesystem::path& out) {
  metrics::check_page_name(out);
  io::Json data;
  data["reports"] = reports.is_array() ? reports : io::Json::array({reports});
  LORSA_CHECK(!data["reports"].empty(), FormatError,
              "evaluation reports: expected one, found none");
  for (io::Json& report : data["reports"]) {
    check_report(report);
    metrics::make_valid_utf8(report);
  }
  data["metrics"] = io::Json::array();
  for (const Metric& metric : eval_metrics()) {
    data["metrics"].push_back({{"name", metric.name},
                               {"unit", metric.unit},
                               {"better", to_string(metric.better)},
                               {"meaning", metric.meaning}});
  }
  std::string script(metrics::kChartsScript);
  script.append(metrics::kPlotsScript).append(kEvalScript);
  io::write_file(
      out, metrics::make_page({.html = kEvalHtml, .style = metrics::kReportStyle, .script = script},
                              data));
}

}  // namespace lorsa::eval
