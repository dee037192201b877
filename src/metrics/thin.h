#pragma once

#include <cstddef>
#include <vector>

namespace lorsa::metrics {

/// Which points to keep of columns that share their x axis, so that a plot still shows every peak:
/// ascending indices, at most `max_points` of them, or all if there are no more.
///
/// The points are cut into runs of equal length; of each run the smallest and the largest value of
/// every column stay, the earlier one among equals, and its first NaN, a gap. The first and the
/// last point always stay. Columns are equally long, at least one; max_points >= 2 + 3 * columns.
[[nodiscard]] std::vector<size_t> thinned(const std::vector<std::vector<double>>& columns,
                                          size_t max_points);

}  // namespace lorsa::metrics
