#pragma once

namespace lorsa {

/// While it lives, SIGINT and SIGTERM set a flag instead of ending the process; a second signal
/// ends it at once.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// True once a signal has come. Async-signal-safe, any thread.
  [[nodiscard]] static bool requested() noexcept;
};

}  // namespace lorsa
