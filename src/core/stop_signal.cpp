#include "lorsa/core/stop_signal.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <mutex>

namespace lorsa {
namespace {

// Ctrl-C; `kill`, schedulers and launchers; a closed terminal; SLURM's --signal before the time
// limit; the soft limit of processor time (which then comes every second).
constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU};
/// The first of these end the process when they come again.
constexpr size_t kNumImpatient = 2;
/// One wish to stop may arrive twice within this time.
constexpr int64_t kOneWishMs = 500;

std::atomic<bool> stop_requested{false};
std::array<std::atomic<int64_t>, kNumImpatient> first_came_ms{};  // 0: not yet
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free,
              "the handler may only touch lock-free state");

// Nested StopSignals share the handlers of the outermost one.
std::mutex install_mutex;
int num_alive = 0;
std::array<struct sigaction, kSignals.size()> previous_actions;

int64_t now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);  // async-signal-safe
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000 + 1;
}

extern "C" void lorsa_on_stop_signal(int signal_number) {
  const int interrupted_errno = errno;
  stop_requested = true;
  for (size_t i = 0; i < kNumImpatient; ++i) {
    int64_t first = 0;
    if (kSignals[i] == signal_number &&
        !first_came_ms[i].compare_exchange_strong(first, now_ms()) &&
        now_ms() - first >= kOneWishMs) {
      // The signal is blocked while its handler runs: the raised one ends the process on return.
      std::signal(signal_number, SIG_DFL);
      std::raise(signal_number);
    }
  }
  errno = interrupted_errno;
}

/// Whether the signal is ours to handle, given what is done with it now.
bool takes_over(int signal_number, const struct sigaction& before) {
  const bool others_may_use =
      signal_number == SIGUSR1 || signal_number == SIGUSR2 || signal_number == SIGXCPU;
  return before.sa_handler != SIG_IGN && (!others_may_use || before.sa_handler == SIG_DFL);
}

}  // namespace

StopSignal::StopSignal() {
  const std::lock_guard lock(install_mutex);
  if (num_alive++ > 0) {
    return;
  }
  stop_requested = false;
  for (std::atomic<int64_t>& time : first_came_ms) {
    time = 0;
  }
  struct sigaction action = {};
  action.sa_handler = lorsa_on_stop_signal;
  sigemptyset(&action.sa_mask);
  // Reads and writes in progress continue instead of failing with EINTR.
  action.sa_flags = SA_RESTART;
  for (size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], nullptr, &previous_actions[i]);
    if (takes_over(kSignals[i], previous_actions[i])) {
      sigaction(kSignals[i], &action, nullptr);
    }
  }
}

StopSignal::~StopSignal() {
  const std::lock_guard lock(install_mutex);
  if (--num_alive > 0) {
    return;
  }
  for (size_t i = 0; i < kSignals.size(); ++i) {
    if (takes_over(kSignals[i], previous_actions[i])) {
      sigaction(kSignals[i], &previous_actions[i], nullptr);
    }
  }
  stop_requested = false;
}

bool StopSignal::requested() noexcept {
  return stop_requested;
}

}  // namespace lorsa
