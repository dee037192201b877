#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "experiments/results.h"
#include "lorsa/core/error.h"
#include "lorsa/experiments/power_law.h"

namespace lorsa::experiments {
namespace {

/// `text` before and behind the first `word`; nothing if it does not stand there.
std::optional<std::pair<std::string, std::string>> cut(const std::string& text,
                                                       const std::string& word) {
  const size_t at = text.find(word);
  if (at == std::string::npos) {
    return std::nullopt;
  }
  return std::pair(text.substr(0, at), text.substr(at + word.size()));
}

bool is_setting(const std::string& name) {
  return name.find('.') != std::string::npos;
}

bool is_name(const std::string& text) {
  return !text.empty() && text.find_first_of(" \t") == std::string::npos;
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Cut at ", ".
std::vector<std::string> names_of(const std::string& text) {
  std::vector<std::string> names;
  std::string rest = text;
  while (const auto sides = cut(rest, ", ")) {
    names.push_back(sides->first);
    rest = sides->second;
  }
  names.push_back(rest);
  return names;
}

struct Series {
  io::Json settings;
  std::vector<std::pair<double, double>> points;
};

/// A point per row, rows of one value of the plot's series together, in their order.
std::vector<Series> series_of(const Plot& plot, const io::Json& runs) {
  std::vector<Series> all;
  std::map<std::string, size_t> known;
  for (const Row& row : rows_of(runs)) {
    io::Json settings = io::Json::object();
    for (const std::string& key : plot.series) {
      settings[key] = runs[row.runs.front()].at("settings").at(key);
    }
    const auto [found, is_new] = known.emplace(settings.dump(), all.size());
    if (is_new) {
      all.push_back({settings, {}});
    }
    const std::vector<double> x = values_of(runs, row, plot.x);
    const std::vector<double> y = values_of(runs, row, plot.y);
    if (!x.empty() && !y.empty()) {
      all[found->second].points.emplace_back(mean(x), mean(y));
    }
  }
  for (Series& series : all) {
    std::ranges::stable_sort(series.points);
  }
  return all;
}

io::Json fit_of(const std::string& text, const Plot& plot, const Series& series) {
  io::Json points = io::Json::array();
  std::vector<double> x;
  std::vector<double> y;
  for (const auto& [at, value] : series.points) {
    points.push_back({at, value});
    x.push_back(at);
    y.push_back(value);
  }
  io::Json fit = {{"plot", text},
                  {"x", plot.x},
                  {"y", plot.y},
                  {"series", series.settings},
                  {"points", points}};
  try {
    fit["law"] = to_json(fit_power_law(x, y));
  } catch (const ConfigError& error) {
    fit["error"] = error.what();
  }
  return fit;
}

}  // namespace

Plot parse_plot(const std::string& text, const std::string& where) {
  Plot plot;
  const auto sides = cut(text, " against ");
  if (sides) {
    plot.y = sides->first;
    const auto by = cut(sides->second, " by ");
    const std::string axes = by ? by->first : sides->second;
    const auto both = cut(axes, " and ");
    plot.x = both ? both->first : axes;
    plot.second = both ? both->second : "";
    plot.series = by ? names_of(by->second) : std::vector<std::string>();
    const bool complete = is_name(plot.y) && is_name(plot.x) && (!both || is_name(plot.second)) &&
                          std::ranges::all_of(plot.series, is_name);
    plot.y = complete ? plot.y : "";
  }
  LORSA_CHECK(!plot.y.empty(), ConfigError, "{}: expected \"Y against X [by S]\", found '{}'",
              where, text);
  return plot;
}

void check_plots(const SweepPlan& plan) {
  std::set<std::string> settings = {"model.kind"};
  for (const Axis& axis : plan.axes) {
    for (const StageKey& key : axis.keys) {
      settings.insert(key.full());
    }
  }
  const auto check = [&](const std::string& name, const std::string& where) {
    const bool known =
        is_setting(name) ? settings.contains(name) : std::ranges::count(metric_names(), name) > 0;
    LORSA_CHECK(known, ConfigError, "{}: {}{}", where, name,
                is_setting(name) ? " is no key of sweep.axes" : " is no metric of a sweep");
  };
  for (const std::string& column : plan.page.columns) {
    check(column, "page.columns");
  }
  const auto check_all = [&](const std::vector<std::string>& texts, const std::string& where,
                             bool is_map) {
    for (const std::string& text : texts) {
      const Plot plot = parse_plot(text, where);
      LORSA_CHECK(plot.second.empty() != is_map, ConfigError, "{}: '{}{}", where, text,
                  is_map ? "' needs two settings, \"Y against X1 and X2\""
                         : "' has a second setting, which heat maps alone have");
      const std::string at = formatted("{}: '{}'", where, text);
      check(plot.y, at);
      check(plot.x, at);
      if (is_map) {
        check(plot.second, at);
      }
      for (const std::string& key : plot.series) {
        check(key, at);
        LORSA_CHECK(is_setting(key), ConfigError, "{}: series are settings, found {}", at, key);
      }
    }
  };
  check_all(plan.page.curves, "page.curves", false);
  check_all(plan.page.heat_maps, "page.heat_maps", true);
  check_all(plan.page.fits, "page.fits", false);
}

io::Json fits_of(const std::vector<std::string>& plots, const io::Json& runs) {
  io::Json fits = io::Json::array();
  for (const std::string& text : plots) {
    const Plot plot = parse_plot(text, "page.fits");
    for (const Series& series : series_of(plot, runs)) {
      fits.push_back(fit_of(text, plot, series));
    }
  }
  return fits;
}

}  // namespace lorsa::experiments
