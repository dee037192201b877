#include "toy/tasks.h"

#include <algorithm>

#include "lorsa/core/error.h"
#include "lorsa/core/seed.h"

namespace lorsa::toy {
namespace {

/// What all tasks have: words, rules, and rows of noise to write into.
class NoisyTask : public Task {
 public:
  explicit NoisyTask(const ToyConfig::Task& config) : config_(config), words_{"<bos>"} {}

  [[nodiscard]] const std::vector<std::string>& words() const final { return words_; }

  [[nodiscard]] const std::vector<std::string>& rules() const final { return rules_; }

  [[nodiscard]] int64_t context_length() const final { return config_.context_length; }

 protected:
  /// Adds words prefix0, prefix1, ...; returns the id of the first.
  int32_t add_words(const std::string& prefix, int64_t count) {
    const auto first = static_cast<int32_t>(words_.size());
    for (int64_t i = 0; i < count; ++i) {
      words_.push_back(formatted("{}{}", prefix, i));
    }
    return first;
  }

  int32_t add_word(const std::string& word) {
    words_.push_back(word);
    return static_cast<int32_t>(words_.size()) - 1;
  }

  void add_rule(const std::string& name) { rules_.push_back(name); }

  /// The noise words, behind all others.
  void add_noise() { noise_ = add_words("n", config_.noise_tokens); }

  [[nodiscard]] int32_t noise(Random& random) const {
    return noise_ + static_cast<int32_t>(random.below(config_.noise_tokens));
  }

  [[nodiscard]] TaskRow noise_row(Random& random) const {
    TaskRow row;
    row.tokens.push_back(kBos);
    while (static_cast<int64_t>(row.tokens.size()) < config_.context_length) {
      row.tokens.push_back(noise(random));
    }
    return row;
  }

  [[nodiscard]] int64_t last() const { return config_.context_length - 1; }

  [[nodiscard]] const ToyConfig::Task& config() const { return config_; }

 private:
  ToyConfig::Task config_;
  std::vector<std::string> words_;
  std::vector<std::string> rules_;
  int32_t noise_ = 0;
};

int32_t& at(TaskRow& row, int64_t position) {
  return row.tokens[static_cast<size_t>(position)];
}

int32_t plus(int32_t first, int64_t offset) {
  return first + static_cast<int32_t>(offset);
}

/// Rule r: behind source r mod sources, anywhere in the row, destination r is answered by output r,
/// without it by BOS. A distractor, another rule's source, stands in every row.
class Superposition final : public NoisyTask {
 public:
  explicit Superposition(const ToyConfig::Task& config) : NoisyTask(config) {
    source_ = add_words("s", config.sources);
    destination_ = add_words("d", config.rules);
    output_ = add_words("o", config.rules);
    add_noise();
    for (int64_t r = 0; r < config.rules; ++r) {
      add_rule(formatted("s{} d{} -> o{}", r % config.sources, r, r));
    }
  }

  [[nodiscard]] TaskRow make(Random& random) const override {
    TaskRow row = noise_row(random);
    const int64_t rule = random.below(config().rules);
    const int64_t source = rule % config().sources;
    const int64_t distractor = (source + 1 + random.below(config().sources - 1)) % config().sources;
    const std::vector<int64_t> places = random.distinct(2, 1, last());
    const bool present = random.share() < config().presence;
    at(row, places[0]) = plus(source_, distractor);
    if (present) {
      at(row, places[1]) = plus(source_, source);
      row.applications.push_back({rule, last(), {places[1]}});
    }
    at(row, last()) = plus(destination_, rule);
    row.answers.push_back({last(), present ? plus(output_, rule) : kBos});
    row.candidates.push_back(last());
    return row;
  }

 private:
  int32_t source_ = 0;
  int32_t destination_ = 0;
  int32_t output_ = 0;
};

/// Different noise words, of which a segment returns: from its second token's predecessor on, what
/// followed a token there follows it here.
class Induction final : public NoisyTask {
 public:
  explicit Induction(const ToyConfig::Task& config) : NoisyTask(config) {
    add_noise();
    add_rule("induction");
  }

  [[nodiscard]] TaskRow make(Random& random) const override {
    const int64_t length = config().segment;
    TaskRow row;
    row.tokens.push_back(kBos);
    // No word stands twice but those of the segment, so that only it can be continued.
    for (const int64_t word : random.distinct(last(), 0, config().noise_tokens)) {
      row.tokens.push_back(static_cast<int32_t>(1 + word));
    }
    const int64_t first = 1 + random.below(last() - 2 * length + 1);
    const int64_t second = first + length + random.below(last() - first - 2 * length + 2);
    for (int64_t i = 0; i < length; ++i) {
      at(row, second + i) = at(row, first + i);
    }
    for (int64_t i = 0; i + 1 < length; ++i) {
      row.answers.push_back({second + i, at(row, first + i + 1)});
      row.applications.push_back({0, second + i, {first + i + 1}});
    }
    for (int64_t position = 1; position < config().context_length; ++position) {
      row.candidates.push_back(position);
    }
    return row;
  }
};

/// Elements of all scales stand in the row; the last token names a scale and asks for the element
/// behind the one that stands there, cyclically.
class Successor final : public NoisyTask {
 public:
  explicit Successor(const ToyConfig::Task& config) : NoisyTask(config) {
    for (int64_t s = 0; s < config.scales; ++s) {
      const std::string scale(1, static_cast<char>('A' + s));
      elements_.push_back(add_words(scale, config.scale_length));
      queries_.push_back(add_word(scale + "next"));
      add_rule("successor on scale " + scale);
    }
    add_noise();
  }

  [[nodiscard]] TaskRow make(Random& random) const override {
    TaskRow row = noise_row(random);
    const int64_t asked = random.below(config().scales);
    const std::vector<int64_t> places = random.distinct(config().scales, 1, last());
    for (int64_t s = 0; s < config().scales; ++s) {
      const int64_t element = random.below(config().scale_length);
      at(row, places[static_cast<size_t>(s)]) = plus(elements_[static_cast<size_t>(s)], element);
      if (s == asked) {
        row.answers.push_back({last(), plus(elements_[static_cast<size_t>(s)],
                                            (element + 1) % config().scale_length)});
        row.applications.push_back({s, last(), {places[static_cast<size_t>(s)]}});
      }
    }
    at(row, last()) = queries_[static_cast<size_t>(asked)];
    row.candidates.push_back(last());
    return row;
  }

 private:
  std::vector<int32_t> elements_;
  std::vector<int32_t> queries_;
};

/// "... a + b =" or "... a - b =" at the end of a row of noise, answered modulo the operands.
class Arithmetic final : public NoisyTask {
 public:
  explicit Arithmetic(const ToyConfig::Task& config) : NoisyTask(config) {
    number_ = add_words("", config.operands);
    plus_ = add_word("+");
    minus_ = add_word("-");
    equals_ = add_word("=");
    add_noise();
    add_rule("a + b");
    add_rule("a - b");
  }

  [[nodiscard]] TaskRow make(Random& random) const override {
    TaskRow row = noise_row(random);
    const int64_t n = config().operands;
    const int64_t a = random.below(n);
    const int64_t b = random.below(n);
    const bool subtracts = random.below(2) == 1;
    at(row, last() - 3) = plus(number_, a);
    at(row, last() - 2) = subtracts ? minus_ : plus_;
    at(row, last() - 1) = plus(number_, b);
    at(row, last()) = equals_;
    row.answers.push_back({last(), plus(number_, (subtracts ? a + n - b : a + b) % n)});
    row.applications.push_back({subtracts ? 1 : 0, last(), {last() - 3, last() - 2, last() - 1}});
    row.candidates.push_back(last());
    return row;
  }

 private:
  int32_t number_ = 0;
  int32_t plus_ = 0;
  int32_t minus_ = 0;
  int32_t equals_ = 0;
};

/// A marker "back i" asks for the token distances[i] positions before it. Markers stand anywhere
/// behind the longest distance and are never what is asked for.
class Copy final : public NoisyTask {
 public:
  explicit Copy(const ToyConfig::Task& config)
      : NoisyTask(config), longest_(*std::ranges::max_element(config.distances)) {
    for (const int64_t distance : config.distances) {
      markers_.push_back(add_word(formatted("back{}", distance)));
      add_rule(formatted("copy from {} before", distance));
    }
    add_noise();
  }

  [[nodiscard]] TaskRow make(Random& random) const override {
    TaskRow row = noise_row(random);
    const auto num_rules = static_cast<int64_t>(markers_.size());
    std::vector<uint8_t> taken(row.tokens.size(), 0);  // markers, and what they ask for
    for (int64_t position = longest_ + 1; position <= last(); ++position) {
      const int64_t rule = random.below(num_rules);
      const int64_t source = position - config().distances[static_cast<size_t>(rule)];
      const auto place = static_cast<size_t>(position);
      constexpr double kMarkers = 0.3;  // of the positions, before some are given up
      if (random.share() >= kMarkers || taken[place] != 0 ||
          at(row, source) < markers_.back() + 1) {
        continue;
      }
      at(row, position) = markers_[static_cast<size_t>(rule)];
      taken[place] = taken[static_cast<size_t>(source)] = 1;
      row.answers.push_back({position, at(row, source)});
      row.applications.push_back({rule, position, {source}});
    }
    for (int64_t position = 1; position < config().context_length; ++position) {
      row.candidates.push_back(position);
    }
    return row;
  }

 private:
  int64_t longest_;
  std::vector<int32_t> markers_;
};

}  // namespace

std::unique_ptr<Task> make_task(const ToyConfig::Task& config) {
  switch (config.kind) {
    case TaskKind::kSuperposition:
      return std::make_unique<Superposition>(config);
    case TaskKind::kInduction:
      return std::make_unique<Induction>(config);
    case TaskKind::kSuccessor:
      return std::make_unique<Successor>(config);
    case TaskKind::kArithmetic:
      return std::make_unique<Arithmetic>(config);
    case TaskKind::kCopy:
      return std::make_unique<Copy>(config);
  }
  throw Error("a task without a generator");
}

TaskRow task_row(const Task& task, uint64_t seed, const char* stream, int64_t index) {
  Random random(mix64(stream_seed(seed, stream) + static_cast<uint64_t>(index)));
  return task.make(random);
}

}  // namespace lorsa::toy
