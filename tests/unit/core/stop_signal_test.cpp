#include "lorsa/core/stop_signal.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "support/test.h"

TEST_CASE("a first stop signal sets the flag and a new StopSignal clears it", "[core]") {
  for (const int signal_number : {SIGINT, SIGTERM}) {
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

TEST_CASE("a second stop signal ends the process at once", "[core]") {
  const pid_t child = fork();
  if (child == 0) {
    // Catch2 of the parent must not report the child's signal.
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    const lorsa::StopSignal stop;
    std::raise(SIGINT);
    if (!lorsa::StopSignal::requested()) {
      _exit(1);
    }
    std::raise(SIGTERM);
    _exit(2);
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGTERM);
}
