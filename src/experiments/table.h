#pragma once

#include <string>

#include "lorsa/io/json.h"

namespace lorsa::experiments {

/// table.csv of results.json: a line per run with name, settings and metrics at full precision.
[[nodiscard]] std::string csv_of(const io::Json& results);

/// A table for the terminal: seeds aggregated to mean and standard deviation.
[[nodiscard]] std::string table_of(const io::Json& results);

}  // namespace lorsa::experiments
