#include "experiments/grid.h"

#include "lorsa/core/error.h"
#include "support/test.h"
#include "support/throws.h"

using namespace lorsa;
using namespace lorsa::experiments;

using test::message_of;
using test::require_parts;

namespace {

std::vector<std::string> names(const std::vector<std::string>& axes) {
  std::vector<std::string> found;
  for (const GridPoint& point : grid_points(parse_axes(axes))) {
    found.push_back(point.name);
  }
  return found;
}

std::string refusal(const std::vector<std::string>& axes) {
  return message_of<ConfigError>([&] { static_cast<void>(grid_points(parse_axes(axes))); });
}

}  // namespace

TEST_CASE("keys of one axis are zipped, axes multiply with the first one slowest",
          "[experiments]") {
  const std::vector<GridPoint> points = grid_points(
      parse_axes({"model.d_qk=[16, 32]; model.num_qk_heads=[144, 72]", "run.seed=[0, 1, 2]"}));
  REQUIRE(points.size() == 6);
  REQUIRE(points[0].name == "d_qk-16_num_qk_heads-144_seed-0");
  REQUIRE(points[1].name == "d_qk-16_num_qk_heads-144_seed-1");
  REQUIRE(points[3].name == "d_qk-32_num_qk_heads-72_seed-0");
  REQUIRE(points[5].settings.size() == 3);
  REQUIRE(points[5].settings[1].override_text() == "model.num_qk_heads=72");
  REQUIRE(points[5].settings[2].override_text() == "run.seed=2");
}

TEST_CASE("a sweep without axes is one run", "[experiments]") {
  REQUIRE(names({}) == std::vector<std::string>{"run"});
}

TEST_CASE("prefixes name the stage, and keys that end alike are named in full", "[experiments]") {
  const std::vector<GridPoint> points =
      grid_points(parse_axes({"toy:run.seed=[3]", "cache:data.max_tokens=[1k]", "run.seed=[4]"}));
  REQUIRE(points.size() == 1);
  const std::vector<Setting>& settings = points[0].settings;
  REQUIRE(settings[0].key == StageKey{Stage::kToy, "run.seed"});
  REQUIRE(settings[1].key == StageKey{Stage::kCache, "data.max_tokens"});
  REQUIRE(settings[2].key == StageKey{Stage::kTrain, "run.seed"});
  REQUIRE(settings[0].override_text() == "run.seed=3");
  REQUIRE(points[0].name == "toy-run.seed-3_max_tokens-1k_run.seed-4");
  REQUIRE(name_of(settings, {Stage::kToy}, "toy") == "toy-run.seed-3");
  REQUIRE(name_of(settings, {Stage::kToy, Stage::kCache}, "cache") ==
          "toy-run.seed-3_max_tokens-1k");
  REQUIRE(name_of({}, {Stage::kToy}, "toy") == "toy");
}

TEST_CASE("values keep their quotes, brackets and semicolons for the configuration",
          "[experiments]") {
  const std::vector<Axis> axes =
      parse_axes({"data.cache=['a;b/c', \"d'e\"]; cache:data.files=[[x, 'y z'], []]"});
  REQUIRE(axes[0].points[0][0].override_text() == "data.cache='a;b/c'");
  REQUIRE(axes[0].points[1][0].override_text() == "data.cache='d''e'");
  REQUIRE(axes[0].points[0][1].override_text() == "data.files=[x, 'y z']");
  REQUIRE(axes[0].points[1][1].override_text() == "data.files=[]");
  REQUIRE(grid_points(axes)[0].name == "cache-a-b-c_files-x-y-z");
}

TEST_CASE("a setting is a key, an equals sign and a value", "[experiments]") {
  const Setting setting = parse_setting("cache:layers=[1]", "sweep.set");
  REQUIRE(setting.key == StageKey{Stage::kCache, "layers"});
  REQUIRE(setting.yaml == "[1]");
  require_parts(message_of<ConfigError>(
                    [] { static_cast<void>(parse_setting("train.tokens", "sweep.set")); }),
                {"sweep.set", "train.tokens", "key=value"});
}

TEST_CASE("an axis that does not parse is refused by its text", "[experiments]") {
  require_parts(refusal({"run.seed"}), {"'run.seed'", "key=[v, ...]"});
  require_parts(refusal({"run.seed=[0, 1];"}), {"'run.seed=[0, 1];'", "key=[v, ...]"});
  require_parts(refusal({"run.seed=3"}), {"'run.seed=3'", "expected a list of values", "'3'"});
  require_parts(refusal({"run.seed=[]"}), {"'run.seed=[]'", "an empty one"});
  require_parts(refusal({"run.seed=[0, 1"}), {"run.seed=[0, 1", "bracket left open"});
  require_parts(refusal({"run.seed=[{a: 1}]"}), {"run.seed=[{a: 1}]", "a map"});
  require_parts(refusal({"model.d_qk=[16, 32]; model.top_k=[1, 2, 3]"}),
                {"model.top_k has 3 values", "model.d_qk has 2"});
}

TEST_CASE("a key in two axes, equal runs and names that cannot be are refused", "[experiments]") {
  require_parts(refusal({"run.seed=[0]", "model.top_k=[1]; run.seed=[1]"}),
                {"run.seed", "stands already in 'run.seed=[0]'"});
  require_parts(refusal({"run.seed=[0, 1, 0]"}), {"seed-0", "two runs"});
  require_parts(refusal({"data.cache=[a/b, a:b]"}), {"cache-a-b", "a/b", "a:b"});
  require_parts(refusal({"data.cache=[" + std::string(120, 'x') + "]"}), {"longer than"});
}
