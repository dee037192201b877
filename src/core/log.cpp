#include "lorsa/core/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/dist_sink.h>

#include <cerrno>
#include <cstring>
#include <mutex>

#include "core/terminal.h"

namespace lorsa {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

/// Bare messages; warnings and errors say what they are.
class ConsoleSink final : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    std::string line;
    if (message.level == spdlog::level::warn) {
      line = "warning: ";
    } else if (message.level == spdlog::level::err) {
      line = "error: ";
    }
    line.append(message.payload.data(), message.payload.size());
    terminal::write_line(line);
  }

  void flush_() override {}
};

struct Sinks {
  std::shared_ptr<ConsoleSink> console = std::make_shared<ConsoleSink>();
  std::shared_ptr<spdlog::sinks::dist_sink_mt> all =
      std::make_shared<spdlog::sinks::dist_sink_mt>();
  spdlog::logger logger{"lorsa", all};

  Sinks() {
    console->set_level(spdlog::level::info);
    all->add_sink(console);
    logger.set_level(spdlog::level::debug);
    logger.flush_on(spdlog::level::debug);
  }
};

// Never destroyed: destructors of static objects may still log.
Sinks& sinks() {
  static Sinks& instance = *new Sinks;
  return instance;
}

}  // namespace

void log(LogLevel level, const std::string& message) noexcept {
  try {
    sinks().logger.log(to_spdlog(level), spdlog::string_view_t(message));
  } catch (...) {
    // A message that cannot be written must not stop the work that it describes.
  }
}

void set_console_level(LogLevel level) {
  sinks().console->set_level(to_spdlog(level));
}

struct LogFile::Impl {
  std::shared_ptr<spdlog::sinks::basic_file_sink_mt> sink;
};

LogFile::LogFile(const std::filesystem::path& path) : impl_(std::make_unique<Impl>()) {
  try {
    impl_->sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.string());
  } catch (const spdlog::spdlog_ex& error) {
    throw IoError(formatted("cannot open the log file {}: {}", path, error.what()));
  }
  impl_->sink->set_level(spdlog::level::info);
  impl_->sink->set_pattern("%Y-%m-%d %H:%M:%S.%e %l: %v");
  sinks().all->add_sink(impl_->sink);
}

LogFile::~LogFile() {
  sinks().all->remove_sink(impl_->sink);
}

}  // namespace lorsa
