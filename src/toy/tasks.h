#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lorsa/toy/config.h"
#include "toy/random.h"

namespace lorsa::toy {

/// A planted rule at work: at `destination` the model is to answer what it reads at the `sources`.
struct Application {
  int64_t rule = 0;
  int64_t destination = 0;
  std::vector<int64_t> sources;  ///< positions, ascending
};

/// A position at which the model is asked, and the right next token.
struct Answer {
  int64_t position = 0;
  int32_t token = 0;
};

/// One row of a task: context_length tokens, BOS first.
struct TaskRow {
  std::vector<int32_t> tokens;
  std::vector<Answer> answers;            ///< what is trained, ascending
  std::vector<int64_t> candidates;        ///< positions at which a rule could apply, ascending
  std::vector<Application> applications;  ///< ascending by destination
};

/// The token with which every row begins.
inline constexpr int32_t kBos = 0;

/// A generator of rows whose right answers, and what must be read for them, are known.
class Task {
 public:
  virtual ~Task() = default;
  /// Words of the vocabulary by id; ids 0 is BOS.
  [[nodiscard]] virtual const std::vector<std::string>& words() const = 0;
  [[nodiscard]] virtual const std::vector<std::string>& rules() const = 0;
  [[nodiscard]] virtual int64_t context_length() const = 0;
  [[nodiscard]] virtual TaskRow make(Random& random) const = 0;
};

/// The task of a validated configuration.
[[nodiscard]] std::unique_ptr<Task> make_task(const ToyConfig::Task& config);

/// Row `index` of the named stream: depends on seed, stream and index alone.
[[nodiscard]] TaskRow task_row(const Task& task, uint64_t seed, const char* stream, int64_t index);

}  // namespace lorsa::toy
