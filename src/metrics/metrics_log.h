#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lorsa::metrics {

/// One number of metrics.jsonl over the lines that hold it.
struct Curve {
  std::string key;
  std::vector<int64_t> tokens;
  std::vector<double> values;  ///< NaN where the line says null
};

/// A whole metrics.jsonl.
struct MetricsLog {
  int64_t num_lines = 0;
  int64_t last_tokens = 0;    ///< of the last line, 0 without lines
  std::vector<Curve> curves;  ///< without `tokens`, in the order in which the file names them

  /// The curve of `key`, or null.
  [[nodiscard]] const Curve* find(const std::string& key) const;
};

/// Reads the lines of `path` (docs/formats.md, "Run folder"). Other members than numbers and null
/// are passed over, except under the names that lorsa-train writes. A last line that does not end
/// in a line feed and does not parse was cut by a crash: passed over with a warning. Throws
/// IoError, FormatError naming path, line and, for what is no JSON, byte.
[[nodiscard]] MetricsLog read_metrics_log(const std::filesystem::path& path);

}  // namespace lorsa::metrics
