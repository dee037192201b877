#include "lorsa/core/log.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "capture_stderr.h"
#include "support/test.h"

using Catch::Matchers::Contains;
using lorsa::LogLevel;

namespace {

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(line);
  }
  return lines;
}

}  // namespace

TEST_CASE("the console shows bare messages and marks warnings and errors", "[core]") {
  const lorsa::test::CaptureStderr capture;
  lorsa::log_info("step {}", 3);
  lorsa::log_warning("low {}", 1.5);
  lorsa::log_error("gone {{}}");
  lorsa::log(LogLevel::kDebug, "hidden");
  CHECK(capture.text() == "step 3\nwarning: low 1.5\nerror: gone {}\n");
}

TEST_CASE("the console level hides lower messages but files keep them", "[core]") {
  const lorsa::test::CaptureStderr capture;
  const lorsa::test::TempDir folder;
  {
    const lorsa::LogFile file(folder / "log.txt");
    lorsa::set_console_level(LogLevel::kError);
    lorsa::log_info("quiet");
    lorsa::log_error("loud");
    lorsa::set_console_level(LogLevel::kInfo);
    // Flushed per line: readable while the file is open.
    CHECK(lines_of(folder / "log.txt").size() == 2);
  }
  CHECK(capture.text() == "error: loud\n");
  const std::string kStamp = "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}\\.[0-9]{3} ";
  const std::vector<std::string> lines = lines_of(folder / "log.txt");
  REQUIRE(lines.size() == 2);
  CHECK_THAT(lines[0], Catch::Matchers::Matches(kStamp + "info: quiet"));
  CHECK_THAT(lines[1], Catch::Matchers::Matches(kStamp + "error: loud"));
}

TEST_CASE("a log file is appended to and gets nothing after its end", "[core]") {
  const lorsa::test::CaptureStderr capture;
  const lorsa::test::TempDir folder;
  for (int run = 0; run < 2; ++run) {
    const lorsa::LogFile file(folder / "log.txt");
    lorsa::log_info("run {}", run);
  }
  lorsa::log_info("after");
  const std::vector<std::string> lines = lines_of(folder / "log.txt");
  REQUIRE(lines.size() == 2);
  CHECK_THAT(lines[1], Contains("run 1"));
}

TEST_CASE("two log files get the same lines", "[core]") {
  const lorsa::test::CaptureStderr capture;
  const lorsa::test::TempDir folder;
  const lorsa::LogFile a(folder / "a.txt");
  const lorsa::LogFile b(folder / "b.txt");
  lorsa::log_info("both");
  CHECK(lines_of(folder / "a.txt").size() == 1);
  CHECK(lines_of(folder / "a.txt") == lines_of(folder / "b.txt"));
}

TEST_CASE("a log file that cannot be opened is an input/output error", "[core]") {
  const lorsa::test::TempDir folder;
  CHECK_THROWS_MATCHES(lorsa::LogFile(folder.path()), lorsa::IoError,
                       Catch::Predicate<lorsa::IoError>([&](const lorsa::IoError& error) {
                         return std::string(error.what()).find(folder.path().string()) !=
                                std::string::npos;
                       }));
}

TEST_CASE("lines of several threads stay whole", "[core]") {
  const lorsa::test::CaptureStderr capture;
  const std::string message(100, 'x');
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&message] {
      for (int line = 0; line < 50; ++line) {
        lorsa::log_info("{}", message);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  std::istringstream lines(capture.text());
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    REQUIRE(line == message);
  }
  CHECK(count == 200);
}
