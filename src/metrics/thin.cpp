#include "metrics/thin.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

namespace lorsa::metrics {
namespace {

/// Appends what stays of column[begin, end).
void keep_extremes(const std::vector<double>& column,
                   size_t begin,
                   size_t end,
                   std::vector<size_t>& kept) {
  size_t smallest = end;
  size_t largest = end;
  size_t gap = end;
  for (size_t i = begin; i < end; ++i) {
    if (std::isnan(column[i])) {
      gap = std::min(gap, i);
      continue;
    }
    if (smallest == end || column[i] < column[smallest]) {
      smallest = i;
    }
    if (largest == end || column[i] > column[largest]) {
      largest = i;
    }
  }
  for (const size_t index : {smallest, largest, gap}) {
    if (index != end) {
      kept.push_back(index);
    }
  }
}

}  // namespace

std::vector<size_t> thinned(const std::vector<std::vector<double>>& columns, size_t max_points) {
  assert(!columns.empty() && max_points >= 2 + 3 * columns.size());
  const size_t num_points = columns.front().size();
  std::vector<size_t> kept;
  if (num_points <= max_points) {
    kept.resize(num_points);
    std::iota(kept.begin(), kept.end(), size_t{0});
    return kept;
  }
  const size_t num_runs = (max_points - 2) / (3 * columns.size());
  kept = {0, num_points - 1};
  for (size_t run = 0; run < num_runs; ++run) {
    for (const std::vector<double>& column : columns) {
      keep_extremes(column, run * num_points / num_runs, (run + 1) * num_points / num_runs, kept);
    }
  }
  std::sort(kept.begin(), kept.end());
  kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
  return kept;
}

}  // namespace lorsa::metrics
