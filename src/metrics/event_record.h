#pragma once

// The bytes of an event file: records around protobuf messages of tensorflow/core/util/event.proto,
// encoded by hand because a handful of fields is all that scalars need.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lorsa/metrics/event_file.h"

namespace lorsa::metrics {

/// The message that every file begins with: file_version "brain.Event:2".
[[nodiscard]] std::string version_event(double wall_time_s);

/// Session log START: readers drop what earlier files hold at `step` and later.
[[nodiscard]] std::string start_event(double wall_time_s, int64_t step);

/// One summary with all the points of a step, as simple_value (float32).
[[nodiscard]] std::string scalar_event(double wall_time_s,
                                       int64_t step,
                                       const std::vector<Scalar>& scalars);

/// Length (uint64), its masked CRC-32C, the event, its masked CRC-32C; integers little-endian.
[[nodiscard]] std::string event_record(std::string_view event);

}  // namespace lorsa::metrics
