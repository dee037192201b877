#include "lorsa/experiments/sweep_page.h"

#include <initializer_list>
#include <regex>
#include <string>

#include "experiments/page_parts.h"
#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "metrics/page.h"
#include "metrics/report_page.h"

namespace lorsa::experiments {
namespace {

constexpr int64_t kSchema = 1;
constexpr const char* kCurve = R"(\S+ against \S+( by \S+(, \S+)*)?)";
constexpr const char* kHeatMap = R"(\S+ against \S+ and \S+( by \S+(, \S+)*)?)";

using Keys = std::initializer_list<const char*>;

void require(const io::Json& object, const Keys& keys, const std::string& where) {
  for (const char* key : keys) {
    (void)io::member<io::Json>(object, key, where);
  }
}

// Members `key` of `object`, each with the place that an error names.
template <typename Check>
void for_each_of(const io::Json& object,
                 const std::string& key,
                 const std::string& where,
                 const Check& check) {
  const auto list = io::member<io::Json>(object, key, where);
  LORSA_CHECK(list.is_array(), FormatError, "{}: {}: expected a list, found {}", where, key, list);
  for (size_t i = 0; i < list.size(); ++i) {
    check(list[i], formatted("{}: {}[{}]", where, key, i));
  }
}

void require_object(const io::Json& object, const std::string& key, const std::string& where) {
  const auto found = io::member<io::Json>(object, key, where);
  LORSA_CHECK(found.is_object(), FormatError, "{}: {}: expected an object, not {}", where, key,
              found);
}

void check_run(const io::Json& run, const std::string& where) {
  (void)io::member<std::string>(run, "name", where);
  require_object(run, "settings", where);
  require_object(run, "metrics", where);
  const auto rules = run.find("rules");
  if (rules == run.end()) {
    return;
  }
  const std::string inside = where + ": rules";
  require(*rules, {"mean_f1", "mean_mhsa_f1", "num_above", "source_share"}, inside);
  for_each_of(*rules, "rules", inside, [](const io::Json& rule, const std::string& place) {
    (void)io::member<std::string>(rule, "rule", place);
    require(rule,
            {"num_positions", "unit", "threshold", "f1", "num_firings", "source_share", "mhsa_head",
             "mhsa_f1"},
            place);
  });
}

void check_plots(const io::Json& page, const std::string& key, const char* form) {
  const std::regex pattern(form);
  for_each_of(page, key, "results: page", [&](const io::Json& plot, const std::string& place) {
    LORSA_CHECK(
        plot.is_string() && std::regex_match(plot.get<std::string>(), pattern), FormatError,
        "{}: expected {}, found {}", place,
        key == "heat_maps" ? "\"Y against X1 and X2 [by SERIES]\"" : "\"Y against X [by SERIES]\"",
        plot);
  });
}

void check_page(const io::Json& results) {
  const auto page = io::member<io::Json>(results, "page", "results");
  for_each_of(page, "columns", "results: page", [](const io::Json& column, const std::string& at) {
    LORSA_CHECK(column.is_string(), FormatError, "{}: expected a text, found {}", at, column);
  });
  check_plots(page, "curves", kCurve);
  check_plots(page, "heat_maps", kHeatMap);
  check_plots(page, "fits", kCurve);
}

void check_fit(const io::Json& fit, const std::string& where) {
  for (const char* key : {"plot", "x", "y"}) {
    (void)io::member<std::string>(fit, key, where);
  }
  require_object(fit, "series", where);
  require(fit, {"points"}, where);
  if (fit.contains("error")) {
    return;
  }
  require(io::member<io::Json>(fit, "law", where),
          {"scale", "exponent", "floor", "scale_interval", "exponent_interval", "floor_interval",
           "residuals", "relative_error", "largest_relative_error", "held_out_error"},
          where + ": law");
}

void check_stability(const io::Json& pair, const std::string& where) {
  require(pair,
          {"first", "second", "num_tokens", "num_heads_first", "num_heads_second", "threshold",
           "share_first", "share_second", "share_one_to_one", "share_direction", "share_firing",
           "mean_match", "histogram"},
          where);
}

void check_errors(const io::Json& analysis, const std::string& where) {
  require(analysis,
          {"checkpoint", "reference", "num_tokens", "fvu", "reference_fvu", "vector_from_reference",
           "vector_from_input", "vector_from_target", "log_slope", "log_correlation",
           "variance_share", "unexplained", "reference_unexplained"},
          where);
  require_object(analysis, "norm_from", where);
  for_each_of(analysis, "by_target_norm", where, [](const io::Json& bin, const std::string& place) {
    require(bin, {"target_norm", "error_norm", "reference_error_norm"}, place);
  });
}

void check_results(const io::Json& results) {
  const auto schema = io::member<int64_t>(results, "schema", "results");
  LORSA_CHECK(schema == kSchema, FormatError, "schema: expected {}, not {}", kSchema, schema);
  for (const char* key : {"title", "question"}) {
    (void)io::member<std::string>(results, key, "results");
  }
  for_each_of(results, "axes", "results", [](const io::Json& axis, const std::string& where) {
    require(axis, {"keys", "values"}, where);
  });
  for_each_of(results, "runs", "results", check_run);
  check_page(results);
  for_each_of(results, "fits", "results", check_fit);
  for_each_of(results, "stability", "results", check_stability);
  for_each_of(results, "errors", "results", check_errors);
}

}  // namespace

void write_sweep_page(const io::Json& results, const std::filesystem::path& out) {
  metrics::check_page_name(out);
  check_results(results);
  io::Json data = results;
  metrics::make_valid_utf8(data);
  std::string style(metrics::kReportStyle);
  style.append(kSweepStyle);
  std::string script(metrics::kChartsScript);
  script.append(metrics::kPlotsScript).append(kSweepScript);
  io::write_file(out,
                 metrics::make_page({.html = kSweepHtml, .style = style, .script = script}, data));
}

}  // namespace lorsa::experiments
