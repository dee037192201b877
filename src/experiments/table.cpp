#include "experiments/table.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <sstream>

#include "experiments/results.h"
#include "lorsa/core/error.h"

namespace lorsa::experiments {
namespace {

/// A field of CSV (RFC 4180).
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) {
    return text;
  }
  std::string quoted;
  for (const char c : text) {
    quoted += c == '"' ? "\"\"" : std::string(1, c);
  }
  return formatted("\"{}\"", quoted);
}

std::string plain(const io::Json& value) {
  if (value.is_null()) {
    return "";
  }
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// The metrics that any run has.
std::vector<std::string> present_metrics(const io::Json& runs) {
  std::vector<std::string> found;
  for (const std::string& name : metric_names()) {
    if (std::ranges::any_of(
            runs, [&](const io::Json& run) { return run.at("metrics").contains(name); })) {
      found.push_back(name);
    }
  }
  return found;
}

/// Four significant digits, whole numbers in full.
std::string number_text(double value) {
  std::ostringstream out;
  out.precision(std::abs(value) < 1e15 && value == std::floor(value) ? 15 : 4);
  out << value;
  return out.str();
}

std::string mean_text(const std::vector<double>& values) {
  if (values.empty()) {
    return "-";
  }
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0.0;
  for (const double value : values) {
    squares += (value - mean) * (value - mean);
  }
  const std::string deviation =
      values.size() > 1 ? formatted(" +- {}", number_text(std::sqrt(squares / (n - 1.0)))) : "";
  // Seeds of one size: nothing varies.
  return number_text(mean) + (squares == 0.0 ? "" : deviation);
}

struct Column {
  std::string title;
  std::function<std::string(const Row&)> cell;
};

/// Means of a number of pairs' reports over those whose `member` is a run of the row.
Column pair_column(const io::Json& results,
                   const char* part,
                   const char* member,
                   const char* number) {
  return {number, [&results, part, member, number](const Row& row) {
            std::vector<double> values;
            for (const io::Json& report : results.at(part)) {
              const bool own = std::ranges::any_of(row.runs, [&](size_t i) {
                return results.at("runs")[i].at("name") == report.at(member);
              });
              if (own && report.contains(number) && report.at(number).is_number()) {
                values.push_back(report.at(number).get<double>());
              }
            }
            return mean_text(values);
          }};
}

std::vector<std::string> metric_columns(const io::Json& results) {
  auto names = results.at("page").at("columns").get<std::vector<std::string>>();
  if (!names.empty()) {
    return names;
  }
  const std::vector<std::string> present = present_metrics(results.at("runs"));
  for (const char* name : {"fvu", "l0", "dead_fraction", "parameters", "ce_recovered", "kl",
                           "rule_f1", "rule_mhsa_f1", "rules_above", "rule_source_share"}) {
    if (std::ranges::count(present, name) > 0) {
      names.emplace_back(name);
    }
  }
  return names;
}

std::vector<Column> columns_of(const io::Json& results) {
  const io::Json& runs = results.at("runs");
  std::vector<Column> columns;
  for (const io::Json& axis : results.at("axes")) {
    for (const io::Json& key_json : axis.at("keys")) {
      const auto key = key_json.get<std::string>();
      if (!is_seed(key)) {
        columns.push_back({key, [&runs, key](const Row& row) {
                             return plain(runs[row.runs.front()].at("settings").at(key));
                           }});
      }
    }
  }
  columns.push_back({"n", [](const Row& row) { return formatted("{}", row.runs.size()); }});
  for (const std::string& name : metric_columns(results)) {
    columns.push_back(
        {name, [&runs, name](const Row& row) { return mean_text(values_of(runs, row, name)); }});
  }
  if (!results.at("stability").empty()) {
    columns.push_back(pair_column(results, "stability", "first", "share_one_to_one"));
  }
  if (!results.at("errors").empty()) {
    columns.push_back(pair_column(results, "errors", "checkpoint", "vector_from_reference"));
  }
  return columns;
}

}  // namespace

std::string csv_of(const io::Json& results) {
  const io::Json& runs = results.at("runs");
  const std::vector<std::string> metrics = present_metrics(runs);
  std::string csv = "name";
  for (const auto& [key, value] : runs.front().at("settings").items()) {
    csv += formatted(",{}", csv_field(key));
  }
  for (const std::string& name : metrics) {
    csv += formatted(",{}", name);
  }
  csv += "\n";
  for (const io::Json& run : runs) {
    csv += csv_field(plain(run.at("name")));
    for (const auto& [key, value] : run.at("settings").items()) {
      csv += formatted(",{}", csv_field(plain(value)));
    }
    for (const std::string& name : metrics) {
      const auto found = run.at("metrics").find(name);
      csv += formatted(",{}", found == run.at("metrics").end() ? "" : plain(*found));
    }
    csv += "\n";
  }
  return csv;
}

std::string table_of(const io::Json& results) {
  const std::vector<Column> columns = columns_of(results);
  std::vector<std::vector<std::string>> lines(1);
  for (const Column& column : columns) {
    lines.front().push_back(column.title);
  }
  for (const Row& row : rows_of(results.at("runs"))) {
    lines.emplace_back();
    for (const Column& column : columns) {
      lines.back().push_back(column.cell(row));
    }
  }
  std::vector<size_t> widths(columns.size(), 0);
  for (const std::vector<std::string>& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) {
      widths[i] = std::max(widths[i], line[i].size());
    }
  }
  std::string table;
  for (const std::vector<std::string>& line : lines) {
    std::string text;
    for (size_t i = 0; i < line.size(); ++i) {
      text += line[i] + std::string(widths[i] - line[i].size() + 2, ' ');
    }
    table += text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
  }
  return table;
}

}  // namespace lorsa::experiments
