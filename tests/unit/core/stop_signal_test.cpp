#include "lorsa/core/stop_signal.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include "support/test.h"

TEST_CASE("a first stop signal sets the flag and a new StopSignal clears it", "[core]") {
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU}) {
    const lorsa::StopSignal stop;
    CHECK_FALSE(lorsa::StopSignal::requested());
    std::raise(signal_number);
    CHECK(lorsa::StopSignal::requested());
  }
}

TEST_CASE("the flag ends with the last StopSignal", "[core]") {
  {
    const lorsa::StopSignal stop;
    std::raise(SIGTERM);
    REQUIRE(lorsa::StopSignal::requested());
  }
  REQUIRE_FALSE(lorsa::StopSignal::requested());
}

TEST_CASE("a nested StopSignal keeps the flag and the outer handler", "[core]") {
  const lorsa::StopSignal outer;
  {
    const lorsa::StopSignal inner;
    std::raise(SIGINT);
  }
  CHECK(lorsa::StopSignal::requested());
  const lorsa::StopSignal second;
  CHECK(lorsa::StopSignal::requested());
}

TEST_CASE("the handlers of before come back", "[core]") {
  struct sigaction before = {};
  struct sigaction during = {};
  struct sigaction after = {};
  sigaction(SIGTERM, nullptr, &before);
  {
    const lorsa::StopSignal stop;
    sigaction(SIGTERM, nullptr, &during);
  }
  sigaction(SIGTERM, nullptr, &after);
  CHECK(during.sa_handler != before.sa_handler);
  CHECK(after.sa_handler == before.sa_handler);
}

namespace {

constexpr int kWentOn = 2;

/// How a child ends that gets `first`, waits and gets `second`: kWentOn if it did not.
int status_after(int first, useconds_t wait_us, int second) {
  const pid_t child = fork();
  if (child == 0) {
    // Catch2 of the parent must not report the child's signal.
    for (const int signal_number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
      std::signal(signal_number, SIG_DFL);
    }
    const lorsa::StopSignal stop;
    std::raise(first);
    if (!lorsa::StopSignal::requested()) {
      _exit(1);
    }
    usleep(wait_us);
    std::raise(second);
    _exit(kWentOn);
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status;
}

}  // namespace

TEST_CASE("a signal that comes again a moment later ends the process at once", "[core]") {
  for (const int signal_number : {SIGINT, SIGTERM}) {
    const int status = status_after(signal_number, 600'000, signal_number);
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == signal_number);
  }
}

TEST_CASE("one wish to stop that arrives twice ends nothing", "[core]") {
  // timeout(1) signals its child and then the child's group; torchrun adds SIGTERM to Ctrl-C.
  for (const auto& [first, second] :
       {std::pair(SIGTERM, SIGTERM), {SIGINT, SIGTERM}, {SIGHUP, SIGHUP}}) {
    const int status = status_after(first, 1000, second);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == kWentOn);
  }
  // A shell that loses its terminal sends SIGHUP on; SLURM sends SIGTERM behind SIGUSR1.
  for (const auto& [first, second] : {std::pair(SIGHUP, SIGHUP), {SIGUSR1, SIGTERM}}) {
    const int status = status_after(first, 600'000, second);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == kWentOn);
  }
}

TEST_CASE("ignored signals stay ignored, and SIGUSR1 stays with who handles it", "[core]") {
  const auto handler_of = [](int signal_number) {
    struct sigaction action = {};
    sigaction(signal_number, nullptr, &action);
    return action.sa_handler;
  };
  const auto before_hup = std::signal(SIGHUP, SIG_IGN);  // as nohup does
  const auto before_usr1 = std::signal(SIGUSR1, [](int) {});
  const auto handler = handler_of(SIGUSR1);
  {
    const lorsa::StopSignal stop;
    CHECK(handler_of(SIGHUP) == SIG_IGN);
    CHECK(handler_of(SIGUSR1) == handler);
    CHECK(handler_of(SIGUSR2) != SIG_DFL);
    std::raise(SIGHUP);
    std::raise(SIGUSR1);
    CHECK_FALSE(lorsa::StopSignal::requested());
    std::raise(SIGUSR2);
    CHECK(lorsa::StopSignal::requested());
  }
  CHECK(handler_of(SIGHUP) == SIG_IGN);
  CHECK(handler_of(SIGUSR1) == handler);
  CHECK(handler_of(SIGUSR2) == SIG_DFL);
  std::signal(SIGHUP, before_hup);
  std::signal(SIGUSR1, before_usr1);
}
