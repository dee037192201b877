#include "lorsa/metrics/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <string_view>
#include <system_error>

#include "io/file_descriptor.h"
#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "metrics/event_record.h"

namespace lorsa::metrics {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "events.out.tfevents.";

/// The largest number of seconds in the names of the folder's event files, 0 if there are none.
int64_t newest_second(const fs::path& folder) {
  int64_t newest = 0;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(kPrefix)) {
      int64_t second = 0;
      std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), second);
      newest = std::max(newest, second);
    }
  }
  LORSA_CHECK(!error, IoError, "{}: cannot list the folder: {}", folder, error.message());
  return newest;
}

/// events.out.tfevents.SECONDS.HOST.PID. Readers take the files of a folder in the order of their
/// names, so the seconds of a run that is resumed at once, or after the clock was set back, go on
/// from the files that are there.
fs::path new_file_name(const fs::path& folder, double now_s) {
  const int64_t second = std::max(static_cast<int64_t>(now_s), newest_second(folder) + 1);
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0 || host[0] == '\0') {
    host = {"localhost"};
  }
  std::array<char, 24> digits{};
  std::snprintf(digits.data(), digits.size(), "%010lld", static_cast<long long>(second));
  return folder / formatted("{}{}.{}.{}", kPrefix, digits.data(), host.data(), ::getpid());
}

}  // namespace

struct EventFile::State {
  fs::path path;
  io::FileDescriptor file;

  bool usable = true;

  /// Records behind a cut one would be lost to readers, so nothing follows a failed write.
  void write(std::string_view bytes) {
    LORSA_CHECK(usable, IoError, "{}: closed, or an earlier write failed", path);
    usable = false;
    io::write_all(file, bytes.data(), bytes.size(), path);
    usable = true;
  }
};

double unix_time_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::vector<Scalar> scalars_of(const io::Json& line) {
  LORSA_CHECK(line.is_object(), FormatError, "a line of metrics: expected an object, not {}",
              line.type_name());
  std::vector<Scalar> scalars;
  for (const auto& [key, value] : line.items()) {
    if (value.is_number() && key != "tokens") {
      scalars.push_back(
          {formatted("{}{}", key.ends_with("_s") ? "speed/" : "train/", key), value.get<double>()});
    }
  }
  return scalars;
}

EventFile::EventFile(const fs::path& folder, int64_t resumed_step)
    : state_(std::make_unique<State>()) {
  io::make_directories(folder);
  const double now_s = unix_time_s();
  state_->path = new_file_name(folder, now_s);
  state_->file = io::FileDescriptor(state_->path, O_WRONLY | O_CREAT | O_EXCL);
  // START is written for a run from its beginning too: its folder may hold the points of a session
  // that ended before the first checkpoint.
  state_->write(event_record(version_event(now_s)) +
                event_record(start_event(now_s, resumed_step + 1)));
}

EventFile::~EventFile() = default;
EventFile::EventFile(EventFile&&) noexcept = default;
EventFile& EventFile::operator=(EventFile&&) noexcept = default;

void EventFile::append(int64_t step, double wall_time_s, const std::vector<Scalar>& scalars) {
  state_->write(event_record(scalar_event(wall_time_s, step, scalars)));
}

void EventFile::append_line(const std::string& line) {
  constexpr const char* kWhere = "a line of metrics";
  const io::Json json = io::parse_json(line, kWhere);
  append(io::member<int64_t>(json, "tokens", kWhere), unix_time_s(), scalars_of(json));
}

void EventFile::finish() {
  state_->usable = false;
  state_->file.close(state_->path);
}

const fs::path& EventFile::path() const {
  return state_->path;
}

}  // namespace lorsa::metrics
