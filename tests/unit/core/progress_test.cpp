#include "lorsa/core/progress.h"

#include <chrono>
#include <limits>
#include <thread>

#include "capture_stderr.h"
#include "lorsa/core/log.h"
#include "support/test.h"

using Catch::Matchers::Contains;
using Catch::Matchers::EndsWith;
using Catch::Matchers::StartsWith;

TEST_CASE("durations read as people write them", "[core]") {
  CHECK(lorsa::format_duration(0) == "0s");
  CHECK(lorsa::format_duration(12.4) == "12s");
  CHECK(lorsa::format_duration(59.6) == "1m 00s");
  CHECK(lorsa::format_duration(192) == "3m 12s");
  CHECK(lorsa::format_duration(3599.7) == "1h 00m");
  CHECK(lorsa::format_duration(3840) == "1h 04m");
  CHECK(lorsa::format_duration(51 * 3600) == "2d 03h");
  CHECK(lorsa::format_duration(-1) == "?");
  CHECK(lorsa::format_duration(std::numeric_limits<double>::infinity()) == "?");
  CHECK(lorsa::format_duration(std::numeric_limits<double>::quiet_NaN()) == "?");
}

TEST_CASE("SI numbers keep three digits and never show four", "[core]") {
  CHECK(lorsa::format_si(0) == "0");
  CHECK(lorsa::format_si(57) == "57");
  CHECK(lorsa::format_si(0.01234) == "0.0123");
  CHECK(lorsa::format_si(999.4) == "999");
  CHECK(lorsa::format_si(999.6) == "1k");
  CHECK(lorsa::format_si(200'000) == "200k");
  CHECK(lorsa::format_si(999'700) == "1M");
  CHECK(lorsa::format_si(1'344'000) == "1.34M");
  CHECK(lorsa::format_si(-1500) == "-1.5k");
  CHECK(lorsa::format_si(8e9) == "8G");
}

TEST_CASE("bytes use binary units", "[core]") {
  CHECK(lorsa::format_bytes(0) == "0 B");
  CHECK(lorsa::format_bytes(512) == "512 B");
  CHECK(lorsa::format_bytes(1024) == "1.0 KiB");
  CHECK(lorsa::format_bytes(1048575) == "1.0 MiB");
  CHECK(lorsa::format_bytes(3.2 * 1073741824) == "3.2 GiB");
}

TEST_CASE("off a terminal, progress is one line at the end of a short run", "[core]") {
  const lorsa::test::CaptureStderr capture;
  {
    lorsa::Progress progress("train", 1000, "tokens");
    progress.update(500, "loss 0.5");
    CHECK(capture.text().empty());
    progress.update(1000, "loss 0.25");
    progress.finish();
    progress.update(7, "late");
    progress.finish();
  }
  CHECK_THAT(capture.text(), StartsWith("train  100%  1k/1k tokens  "));
  CHECK_THAT(capture.text(), EndsWith("  loss 0.25\n"));
  CHECK_THAT(capture.text(), !Contains("late") && !Contains("left") && !Contains("\r"));
}

TEST_CASE("an unfinished progress shows its last state", "[core]") {
  const lorsa::test::CaptureStderr capture;
  {
    lorsa::Progress progress("copy", 1000, "rows");
    progress.update(999);
  }
  CHECK_THAT(capture.text(), StartsWith("copy   99%  999/1k rows  "));
}

TEST_CASE("progress can be invisible", "[core]") {
  const lorsa::test::CaptureStderr capture;
  lorsa::Progress progress("train", 10, "tokens", 0, lorsa::Progress::Visible::kNo);
  progress.update(10);
  progress.finish();
  CHECK(capture.text().empty());
}

TEST_CASE("the rate leaves out what an earlier run did", "[core]") {
  lorsa::Progress fresh("a", 2000, "x", 0, lorsa::Progress::Visible::kNo);
  lorsa::Progress resumed("b", 2000, "x", 1000, lorsa::Progress::Visible::kNo);
  CHECK(resumed.rate() == 0.0);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  fresh.update(1100);
  resumed.update(1100);
  const double resumed_rate = resumed.rate();
  const double fresh_rate = fresh.rate();
  CHECK(resumed_rate > 0.0);
  CHECK(resumed_rate < 100 / 0.02);
  CHECK(fresh_rate > 5.0 * resumed_rate);
}

TEST_CASE("on a terminal, progress redraws one line and log lines pass above it", "[core]") {
  const lorsa::test::TerminalStderr terminal;
  lorsa::Progress progress("train", 10, "tokens");
  progress.update(1);
  CHECK(terminal.text().empty());
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  progress.update(4, std::string(100, 'x'));
  const std::string drawn = terminal.text();
  CHECK_THAT(drawn, StartsWith("\rtrain   40%  4/10 tokens  "));
  CHECK_THAT(drawn, EndsWith("\x1b[K"));
  CHECK(drawn.size() == 1 + 39 + 3);
  lorsa::log_info("saved");
  CHECK(terminal.text() == "\r\x1b[Ksaved\r\n");
  progress.update(10);
  progress.finish();
  CHECK_THAT(terminal.text(), StartsWith("\rtrain  100%  10/10 tokens") && EndsWith("\x1b[K\r\n"));
}
