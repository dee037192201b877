#include "lorsa/core/stop_signal.h"

#include <array>
#include <atomic>
#include <csignal>
#include <mutex>

namespace lorsa {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM};

std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free, "the handler may only touch lock-free state");

// Nested StopSignals share the handlers of the outermost one.
std::mutex install_mutex;
int num_alive = 0;
std::array<struct sigaction, kSignals.size()> previous_actions;

extern "C" void lorsa_on_stop_signal(int signal_number) {
  if (stop_requested.exchange(true)) {
    // The signal is blocked while its handler runs: the raised one ends the process on return.
    std::signal(signal_number, SIG_DFL);
    std::raise(signal_number);
  }
}

}  // namespace

StopSignal::StopSignal() {
  const std::lock_guard lock(install_mutex);
  if (num_alive++ > 0) {
    return;
  }
  stop_requested = false;
  struct sigaction action = {};
  action.sa_handler = lorsa_on_stop_signal;
  sigemptyset(&action.sa_mask);
  // Reads and writes in progress continue instead of failing with EINTR.
  action.sa_flags = SA_RESTART;
  for (size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], &action, &previous_actions[i]);
  }
}

StopSignal::~StopSignal() {
  const std::lock_guard lock(install_mutex);
  if (--num_alive > 0) {
    return;
  }
  for (size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], &previous_actions[i], nullptr);
  }
  stop_requested = false;
}

bool StopSignal::requested() noexcept {
  return stop_requested;
}

}  // namespace lorsa
