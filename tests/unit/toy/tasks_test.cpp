#include "toy/tasks.h"

#include <algorithm>
#include <set>

#include "support/test.h"

using namespace lorsa;
using toy::TaskKind;

// What applies where is checked by tests/cli/toy_truth.py against the words alone; here, that the
// rows ask what they are said to ask.

namespace {

constexpr int kRows = 2000;

std::unique_ptr<toy::Task> task_of(TaskKind kind, toy::ToyConfig::Task config = {}) {
  config.kind = kind;
  return toy::make_task(config);
}

std::string word(const toy::Task& task, int32_t token) {
  return task.words()[static_cast<size_t>(token)];
}

}  // namespace

TEST_CASE("rows depend on seed, stream and index alone", "[toy]") {
  const auto task = task_of(TaskKind::kSuperposition);
  const auto tokens = [&](uint64_t seed, const char* stream, int64_t index) {
    return toy::task_row(*task, seed, stream, index).tokens;
  };
  REQUIRE(tokens(3, "a", 7) == tokens(3, "a", 7));
  REQUIRE(tokens(3, "a", 7) != tokens(3, "a", 8));
  REQUIRE(tokens(3, "a", 7) != tokens(3, "b", 7));
  REQUIRE(tokens(3, "a", 7) != tokens(4, "a", 7));
}

TEST_CASE("superposition rows hold a distractor, and the source in their share", "[toy]") {
  const auto task = task_of(TaskKind::kSuperposition);
  int present = 0;
  std::set<int64_t> places;
  for (int i = 0; i < kRows; ++i) {
    const toy::TaskRow row = toy::task_row(*task, 1, "test", i);
    REQUIRE(row.tokens.size() == 12);
    REQUIRE(row.tokens.front() == toy::kBos);
    REQUIRE(row.answers.size() == 1);
    const int sources = static_cast<int>(std::ranges::count_if(
        row.tokens, [&](int32_t token) { return word(*task, token).front() == 's'; }));
    const bool applies = !row.applications.empty();
    REQUIRE(sources == (applies ? 2 : 1));
    REQUIRE((word(*task, row.answers[0].token).front() == 'o') == applies);
    if (applies) {
      const toy::Application& a = row.applications[0];
      REQUIRE(word(*task, row.answers[0].token).substr(1) == word(*task, row.tokens[11]).substr(1));
      places.insert(a.sources[0]);
      ++present;
    } else {
      REQUIRE(row.answers[0].token == toy::kBos);
    }
  }
  REQUIRE(present > 0.65 * kRows);
  REQUIRE(present < 0.75 * kRows);
  REQUIRE(places.size() == 10);
}

TEST_CASE("an induction row asks for every follower in the segment that returns", "[toy]") {
  toy::ToyConfig::Task config;
  config.context_length = 24;
  config.segment = 5;
  const auto task = task_of(TaskKind::kInduction, config);
  std::set<int64_t> firsts, seconds;
  for (int i = 0; i < kRows; ++i) {
    const toy::TaskRow row = toy::task_row(*task, 1, "test", i);
    REQUIRE(row.tokens.size() == 24);
    REQUIRE(row.answers.size() == 4);
    for (const toy::Answer& answer : row.answers) {
      REQUIRE(row.tokens[static_cast<size_t>(answer.position) + 1] == answer.token);
    }
    firsts.insert(row.applications[0].sources[0] - 1);
    seconds.insert(row.answers[0].position);
  }
  REQUIRE(*firsts.begin() == 1);
  REQUIRE(*firsts.rbegin() == 14);
  REQUIRE(*seconds.begin() == 6);
  REQUIRE(*seconds.rbegin() == 19);
}

TEST_CASE("a successor row answers with the next element of the scale asked for", "[toy]") {
  const auto task = task_of(TaskKind::kSuccessor);
  bool wraps = false;
  for (int i = 0; i < kRows; ++i) {
    const toy::TaskRow row = toy::task_row(*task, 1, "test", i);
    const auto source = static_cast<size_t>(row.applications.at(0).sources.at(0));
    const std::string element = word(*task, row.tokens[source]);
    const int next = (std::stoi(element.substr(1)) + 1) % 7;
    REQUIRE(word(*task, row.answers[0].token) == element.substr(0, 1) + std::to_string(next));
    REQUIRE(word(*task, row.tokens.back()) == element.substr(0, 1) + "next");
    wraps = wraps || next == 0;
  }
  REQUIRE(wraps);
}

TEST_CASE("an arithmetic row is answered modulo the operands", "[toy]") {
  const auto task = task_of(TaskKind::kArithmetic);
  std::set<std::string> operators;
  for (int i = 0; i < kRows; ++i) {
    const toy::TaskRow row = toy::task_row(*task, 1, "test", i);
    const int a = std::stoi(word(*task, row.tokens[8]));
    const std::string sign = word(*task, row.tokens[9]);
    const int b = std::stoi(word(*task, row.tokens[10]));
    const int result = ((sign == "+" ? a + b : a - b) + 10) % 10;
    REQUIRE(word(*task, row.answers.at(0).token) == std::to_string(result));
    operators.insert(sign);
  }
  REQUIRE(operators == std::set<std::string>{"+", "-"});
}

TEST_CASE("a copy row answers every marker with the token at its distance", "[toy]") {
  const auto task = task_of(TaskKind::kCopy);
  std::set<std::string> markers;
  for (int i = 0; i < kRows; ++i) {
    const toy::TaskRow row = toy::task_row(*task, 1, "test", i);
    for (const toy::Answer& answer : row.answers) {
      const std::string marker = word(*task, row.tokens[static_cast<size_t>(answer.position)]);
      const int64_t source = answer.position - std::stoi(marker.substr(4));
      REQUIRE(row.tokens[static_cast<size_t>(source)] == answer.token);
      REQUIRE(word(*task, answer.token).front() == 'n');
      markers.insert(marker);
    }
  }
  REQUIRE(markers.size() == 4);
}
