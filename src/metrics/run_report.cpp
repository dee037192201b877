#include "lorsa/metrics/run_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <system_error>
#include <utility>

#include "io/folder_kind.h"
#include "lorsa/core/error.h"
#include "lorsa/core/utf8.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "metrics/metrics_log.h"
#include "metrics/page.h"
#include "metrics/report_page.h"
#include "metrics/run_settings.h"
#include "metrics/thin.h"

namespace lorsa::metrics {
namespace {

namespace fs = std::filesystem;

// A plot is 300 to 700 pixels wide: two points a pixel, of which no eye misses the others.
constexpr size_t kMaxPoints = 1500;

// What a step is made of: drawn as shares of their sum, one plot a run.
constexpr std::array<const char*, 4> kStepParts{"data_wait_s", "model_s", "communication_s",
                                                "optimizer_s"};

using Settings = std::vector<std::pair<std::string, std::string>>;

struct Run {
  fs::path folder;
  std::string name;
  MetricsLog log;
  Settings settings;
};

std::string text_of(const fs::path& path) {
  return replace_invalid_utf8(path.string());
}

/// The last part of the path, also behind a closing slash and for ".".
std::string folder_name(const fs::path& folder) {
  const fs::path whole = fs::absolute(folder).lexically_normal();
  return text_of(whole.has_filename() ? whole.filename() : whole.parent_path().filename());
}

void check_arguments(const std::vector<fs::path>& runs, const fs::path& out) {
  check_page_name(out);
  LORSA_CHECK(!runs.empty(), ConfigError, "expected at least one run folder, found none");
  for (size_t i = 0; i < runs.size(); ++i) {
    std::error_code error;
    const bool is_folder = fs::is_directory(runs[i], error);
    LORSA_CHECK(is_folder, IoError, "{}: expected a run folder, {}", runs[i],
                io::found_instead(runs[i], io::Place::kRun));
    for (size_t j = 0; j < i; ++j) {
      LORSA_CHECK(!fs::equivalent(runs[i], runs[j], error), ConfigError,
                  "{}: the same run folder as {}, give each once", runs[i], runs[j]);
    }
  }
}

/// Whether nothing has this name. What cannot be told is left to the reading, which says why.
bool is_absent(const fs::path& path) {
  std::error_code error;
  return !fs::exists(path, error) && !error;
}

/// "; found ..." where the folder is one of another kind.
std::string about_place(const fs::path& folder) {
  const io::Place place = io::describe_folder(folder).place;
  return place == io::Place::kRun || place == io::Place::kEmptyFolder
             ? ""
             : "; " + io::found_instead(folder, io::Place::kRun);
}

Run read_run(const fs::path& folder) {
  const fs::path lines = folder / "metrics.jsonl";
  LORSA_CHECK(!is_absent(lines), FormatError,
              "{}: expected a run folder of lorsa-train, found no metrics.jsonl in it (the first "
              "line comes after log.every_tokens){}",
              folder, about_place(folder));
  Run run{.folder = folder,
          .name = folder_name(folder),
          .log = read_metrics_log(lines),
          .settings = {}};
  if (!is_absent(folder / "config.yaml")) {
    run.settings = read_settings(folder / "config.yaml");
  }
  return run;
}

std::vector<Run> read_runs(const std::vector<fs::path>& folders) {
  std::vector<Run> runs;
  for (const fs::path& folder : folders) {
    runs.push_back(read_run(folder));
  }
  for (Run& run : runs) {
    for (const Run& other : runs) {
      if (&run != &other && folder_name(run.folder) == folder_name(other.folder)) {
        run.name = text_of(run.folder);
      }
    }
  }
  return runs;
}

template <typename T>
io::Json pick(const std::vector<T>& column, const std::vector<size_t>& indices) {
  io::Json picked = io::Json::array();
  for (const size_t index : indices) {
    picked.push_back(column[index]);
  }
  return picked;
}

io::Json curve_json(const Curve& curve) {
  const std::vector<size_t> kept = thinned({curve.values}, kMaxPoints);
  return {{"x", pick(curve.tokens, kept)}, {"y", pick(curve.values, kept)}};
}

/// The curves of kStepParts, or none where the log has not all three in the same lines.
std::vector<const Curve*> step_parts(const MetricsLog& log) {
  std::vector<const Curve*> parts;
  for (const char* key : kStepParts) {
    const Curve* curve = log.find(key);
    if (curve == nullptr || (!parts.empty() && curve->tokens != parts.front()->tokens)) {
      return {};
    }
    parts.push_back(curve);
  }
  return parts;
}

/// Shares of the parts' sum, thinned together so that they can be stacked.
io::Json split_json(const std::vector<const Curve*>& parts) {
  std::vector<std::vector<double>> shares(parts.size());
  for (size_t i = 0; i < parts.front()->values.size(); ++i) {
    double sum = 0.0;
    for (const Curve* part : parts) {
      sum += part->values[i];
    }
    for (size_t part = 0; part < parts.size(); ++part) {
      shares[part].push_back(sum > 0.0 ? parts[part]->values[i] / sum
                                       : std::numeric_limits<double>::quiet_NaN());
    }
  }
  const std::vector<size_t> kept = thinned(shares, kMaxPoints);
  io::Json split{{"x", pick(parts.front()->tokens, kept)}, {"parts", io::Json::object()}};
  for (size_t part = 0; part < parts.size(); ++part) {
    split["parts"][parts[part]->key] = pick(shares[part], kept);
  }
  return split;
}

io::Json run_json(const Run& run) {
  io::Json last = io::Json::object();
  io::Json curves = io::Json::object();
  const std::vector<const Curve*> parts = step_parts(run.log);
  for (const Curve& curve : run.log.curves) {
    last[curve.key] = curve.values.back();
    if (std::find(parts.begin(), parts.end(), &curve) == parts.end()) {
      curves[curve.key] = curve_json(curve);
    }
  }
  io::Json json{{"name", run.name},           {"path", text_of(run.folder)},
                {"lines", run.log.num_lines}, {"tokens", run.log.last_tokens},
                {"last", std::move(last)},    {"curves", std::move(curves)}};
  if (!parts.empty()) {
    json["split"] = split_json(parts);
  }
  return json;
}

/// Every key of any run with its value in each, null where a run has it not.
io::Json settings_json(const std::vector<Run>& runs) {
  io::Json rows = io::Json::object();
  for (size_t i = 0; i < runs.size(); ++i) {
    for (const auto& [key, value] : runs[i].settings) {
      const std::string name = replace_invalid_utf8(key);
      if (!rows.contains(name)) {
        rows[name] = io::Json(std::vector<io::Json>(runs.size()));
      }
      rows[name][i] = replace_invalid_utf8(value);
    }
  }
  return rows;
}

io::Json page_data(const std::vector<Run>& runs) {
  io::Json data{
      {"max_points", kMaxPoints}, {"runs", io::Json::array()}, {"settings", settings_json(runs)}};
  for (const Run& run : runs) {
    data["runs"].push_back(run_json(run));
  }
  return data;
}

}  // namespace

void write_run_report(const std::vector<fs::path>& runs, const fs::path& out) {
  check_arguments(runs, out);
  const std::string script = std::string(kChartsScript).append(kReportScript);
  const PageParts parts{.html = kReportHtml, .style = kReportStyle, .script = script};
  io::write_file(out, make_page(parts, page_data(read_runs(runs))));
}

}  // namespace lorsa::metrics
