#pragma once

#include "lorsa/core/api.h"

namespace lorsa {

/// While it lives, the signals by which people, terminals and schedulers end work (SIGINT, SIGTERM,
/// SIGHUP; SIGUSR1, SIGUSR2, SIGXCPU) set a flag instead of ending the process.
///
/// SIGINT or SIGTERM ends it at once when it comes again half a second or more after it came first:
/// `timeout`, shells and launchers send one wish to stop twice, one right behind the other. A
/// signal that the process ignores stays ignored (nohup), and where a library handles one of the
/// last three it keeps it.
class LORSA_API StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// True once a signal has come. Async-signal-safe, any thread.
  [[nodiscard]] static bool requested() noexcept;
};

}  // namespace lorsa
