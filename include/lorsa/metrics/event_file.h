#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/io/json.h"

namespace lorsa::metrics {

/// One point of the curve `tag`.
struct Scalar {
  std::string tag;
  double value = 0.0;
};

/// Seconds since 1970 by the system's clock: the wall time of an event.
[[nodiscard]] LORSA_API double unix_time_s();

/// The points in a line of metrics.jsonl: every number but `tokens`, in the line's order. Tags are
/// "speed/KEY" for keys that end in "_s" (seconds, or something per second) and "train/KEY" for the
/// others: TensorBoard shows what stands before the slash as one group. FormatError if `line` is no
/// object; members that are no numbers are passed over.
[[nodiscard]] LORSA_API std::vector<Scalar> scalars_of(const io::Json& line);

/// Writes points into an event file that TensorBoard reads (docs/formats.md, "Event files").
///
/// Every append() is one write to the file, so that a running TensorBoard sees it. One thread, one
/// process: with several ranks, only one of them has an EventFile.
class LORSA_API EventFile {
 public:
  /// Creates a new file in `folder`, made if absent. Its name sorts behind those of the event files
  /// there, which it continues: their points up to and including `resumed_step` stand, later ones
  /// are superseded. 0 for a run from its beginning. Throws IoError.
  EventFile(const std::filesystem::path& folder, int64_t resumed_step);
  ~EventFile();
  EventFile(EventFile&&) noexcept;
  EventFile& operator=(EventFile&&) noexcept;

  /// Adds the points of one step. Values are stored as float32. After an IoError the file may end
  /// in a cut record, which readers pass over; it takes no more points.
  void append(int64_t step, double wall_time_s, const std::vector<Scalar>& scalars);

  /// append() of a line of metrics.jsonl, now: its `tokens` are the step, scalars_of() the points.
  /// FormatError if it is none.
  void append_line(const std::string& line);

  /// Closes the file and reports what the system says only then. IoError; nothing may follow.
  void finish();

  [[nodiscard]] const std::filesystem::path& path() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lorsa::metrics
