#include "metrics/metrics_log.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "metrics/run_settings.h"
#include "metrics/thin.h"
#include "support/throws.h"

namespace lorsa::metrics {
namespace {

std::string refusal(const std::string& text) {
  const test::TempDir folder;
  io::write_file(folder / "metrics.jsonl", text);
  return test::message_of<FormatError>(
      [&] { static_cast<void>(read_metrics_log(folder / "metrics.jsonl")); });
}

MetricsLog log_of(const std::string& text) {
  const test::TempDir folder;
  io::write_file(folder / "metrics.jsonl", text);
  return read_metrics_log(folder / "metrics.jsonl");
}

TEST_CASE("a metrics log is a curve a number, over the lines that hold it", "[metrics]") {
  const MetricsLog log = log_of(
      "{\"tokens\": 64, \"loss\": 0.5, \"note\": \"x\"}\n"
      "{\"tokens\": 64, \"eval_fvu\": 0.25}\n"
      "{\"tokens\": 128, \"loss\": null, \"list\": [1]}\n");
  REQUIRE(log.num_lines == 3);
  REQUIRE(log.last_tokens == 128);
  REQUIRE(log.curves.size() == 2);
  REQUIRE(log.curves[0].key == "loss");
  REQUIRE(log.curves[0].tokens == std::vector<int64_t>{64, 128});
  REQUIRE(log.curves[0].values[0] == 0.5);
  REQUIRE(std::isnan(log.curves[0].values[1]));
  REQUIRE(log.find("eval_fvu")->values == std::vector<double>{0.25});
  REQUIRE(log.find("note") == nullptr);
  REQUIRE(log_of("").num_lines == 0);
}

TEST_CASE("a last line that a crash cut is passed over, others are not", "[metrics]") {
  const std::string whole = "{\"tokens\": 64, \"loss\": 0.5}\n";
  REQUIRE(log_of(whole + "{\"tokens\": 128, \"lo").num_lines == 1);
  REQUIRE(log_of("{\"tok").num_lines == 0);
  // Whole but for its line feed.
  REQUIRE(log_of(whole + "{\"tokens\": 128}").last_tokens == 128);
  test::require_parts(refusal(whole + "{\"tokens\": 128, \"lo\n"), {"metrics.jsonl:2: byte "});
  test::require_parts(refusal("{\"tok\n" + whole), {"metrics.jsonl:1: byte "});
  test::require_parts(refusal(whole + "\n" + whole), {"metrics.jsonl:2: "});
}

TEST_CASE("lines of metrics that make no sense are refused", "[metrics]") {
  const std::string whole = "{\"tokens\": 64, \"loss\": 0.5}\n";
  test::require_parts(refusal(whole + "{\"loss\": 1}\n"),
                      {"metrics.jsonl:2: tokens: expected ", "found nothing"});
  test::require_parts(refusal("[]\n"), {"metrics.jsonl:1: expected an object"});
  test::require_parts(refusal("{\"tokens\": -1}\n"), {"metrics.jsonl:1: tokens: ", "found -1"});
  test::require_parts(refusal(whole + "{\"tokens\": 63}\n"),
                      {"metrics.jsonl:2: tokens: expected 64 or more", "found 63"});
  test::require_parts(refusal("{\"tokens\": 1, \"loss\": \"low\"}\n"),
                      {"metrics.jsonl:1: loss: expected a number, found \"low\""});
}

TEST_CASE("thinned keeps every peak of every column within its bound", "[metrics]") {
  std::vector<double> first(100'000);
  std::vector<double> second(first.size());
  for (size_t i = 0; i < first.size(); ++i) {
    first[i] = std::sin(static_cast<double>(i) * 0.001);
    second[i] = 1.0;
  }
  first[50'001] = 100.0;
  first[50'002] = -100.0;
  second[77'777] = 2.0;
  second[12'345] = std::numeric_limits<double>::quiet_NaN();
  const std::vector<size_t> kept = thinned({first, second}, 1500);
  REQUIRE(kept.size() <= 1500);
  REQUIRE(kept.size() > 400);
  REQUIRE(std::is_sorted(kept.begin(), kept.end()));
  REQUIRE(std::adjacent_find(kept.begin(), kept.end()) == kept.end());
  for (const size_t index : {size_t{0}, size_t{50'001}, size_t{50'002}, size_t{77'777},
                             size_t{12'345}, first.size() - 1}) {
    INFO(index);
    REQUIRE(std::binary_search(kept.begin(), kept.end(), index));
  }
}

TEST_CASE("thinned keeps short columns whole", "[metrics]") {
  REQUIRE(thinned({{}}, 5).empty());
  REQUIRE(thinned({{3, 1, 2}}, 5) == std::vector<size_t>{0, 1, 2});
  REQUIRE(thinned({{1, 1, 1, 1, 1}}, 5).size() == 5);
  REQUIRE(thinned({{1, 5, 0, 2, 3, 1}}, 5) == std::vector<size_t>{0, 1, 2, 5});
}

TEST_CASE("settings are read by dotted key whatever their keys are", "[metrics]") {
  const test::TempDir folder;
  io::write_file(folder / "config.yaml",
                 "run: {out: \"a: b\", seed: 3}\n"
                 "old_key: ~\n"
                 "train:\n  tokens: 200k\n  layers: [1, 2]\n  deep: {er: {x: y}}\n");
  const std::vector<std::pair<std::string, std::string>> expected{
      {"run.out", "a: b"},      {"run.seed", "3"},          {"old_key", "null"},
      {"train.tokens", "200k"}, {"train.layers", "[1, 2]"}, {"train.deep.er.x", "y"}};
  REQUIRE(read_settings(folder / "config.yaml") == expected);
  for (const char* damaged : {"a: 1\na: 2\n", "- 1\n", "", "a: [1\n"}) {
    io::write_file(folder / "config.yaml", damaged);
    const auto read = [&] { static_cast<void>(read_settings(folder / "config.yaml")); };
    test::require_parts(test::message_of<FormatError>(read), {"config.yaml:"});
  }
}

}  // namespace
}  // namespace lorsa::metrics
