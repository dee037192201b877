#include "lorsa/experiments/sweep.h"

#include <algorithm>
#include <filesystem>

#include "experiments/results.h"
#include "experiments/sweep_lock.h"
#include "experiments/sweep_measure.h"
#include "experiments/sweep_plan.h"
#include "experiments/sweep_sessions.h"
#include "experiments/table.h"
#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "support/test.h"
#include "support/throws.h"

using namespace lorsa;
using namespace lorsa::experiments;

using test::message_of;
using test::require_parts;

namespace {

namespace fs = std::filesystem;

/// A sweep of Lorsa and SAE over two sizes and two seeds, on a cache that nothing reads here.
SweepConfig small_sweep(const test::TempDir& dir) {
  io::write_file(dir / "train.yaml",
                 "run: {seed: 6, out: unused}\n"
                 "data: {cache: some/cache}\n"
                 "model: {num_ov_heads: 48, num_qk_heads: 6, d_qk: 8, top_k: 4}\n"
                 "train: {tokens: 1k}\n");
  SweepConfig config;
  config.sweep.out = (dir / "sweep").string();
  config.sweep.train = (dir / "train.yaml").string();
  config.sweep.axes = {"model.kind=[lorsa, sae]; model.d_qk=[8, 0]; model.num_qk_heads=[6, 0]",
                       "model.top_k=[3, 5]", "run.seed=[0, 1]"};
  return config;
}

io::Json run_json(const std::string& kind, int64_t width, int64_t seed, const io::Json& metrics) {
  return {{"name", formatted("{}{}-{}", kind, width, seed)},
          {"settings", {{"model.kind", kind}, {"model.d_qk", width}, {"run.seed", seed}}},
          {"metrics", metrics}};
}

/// Two seeds each of three configurations.
io::Json example_results() {
  io::Json json;
  json["axes"] = {{{"keys", {"model.kind", "model.d_qk"}}, {"values", {}}},
                  {{"keys", {"run.seed"}}, {"values", {}}}};
  json["runs"] = {run_json("lorsa", 8, 0, {{"parameters", 120000}, {"fvu", 0.25}, {"kl", nullptr}}),
                  run_json("lorsa", 8, 1, {{"parameters", 120000}, {"fvu", 0.35}, {"kl", 0.5}}),
                  run_json("sae", 0, 0, {{"parameters", 90000}, {"fvu", 0.1}}),
                  run_json("lorsa", 4, 0, {{"parameters", 60000}, {"fvu", 0.4}, {"kl", 1e-7}})};
  json["page"] = {{"columns", io::Json::array()}};
  json["stability"] = io::Json::array();
  json["errors"] = io::Json::array();
  return json;
}

}  // namespace

TEST_CASE("a plan has every run of the grid with its settings and one order of the data",
          "[experiments]") {
  const test::TempDir dir;
  const SweepPlan plan = plan_sweep(small_sweep(dir));
  REQUIRE(plan.runs.size() == 8);
  const RunPlan& run = plan.runs[5];
  REQUIRE(run.name == "kind-sae_d_qk-0_num_qk_heads-0_top_k-3_seed-1");
  REQUIRE(run.config.model.kind == "sae");
  REQUIRE(run.config.model.top_k == 3);
  REQUIRE(run.config.run.seed == 1);
  REQUIRE(run.config.run.out == (dir / "sweep" / "runs" / run.name).string());
  REQUIRE(
      run.settings.dump() ==
      R"({"model.kind":"sae","model.d_qk":0,"model.num_qk_heads":0,"model.top_k":3,"run.seed":1})");
  for (const RunPlan& each : plan.runs) {
    REQUIRE(each.config.data.seed == 6);  // run.seed of the file
    REQUIRE(each.config.data.cache == "some/cache");
  }
  REQUIRE(axes_json(plan)[1].dump() == R"({"keys":["model.top_k"],"values":[[3],[5]]})");
  REQUIRE(axes_json(plan)[0]["values"].dump() == R"([["lorsa",8,6],["sae",0,0]])");
  REQUIRE_FALSE(fs::exists(dir / "sweep"));
}

TEST_CASE("runs of one stream are grouped in their order, sweep.together at most",
          "[experiments]") {
  const test::TempDir dir;
  SweepConfig config = small_sweep(dir);
  config.sweep.together = 3;
  using Groups = std::vector<std::vector<size_t>>;
  REQUIRE(plan_sweep(config).groups == Groups{{0, 1, 2}, {3, 4, 5}, {6, 7}});
  config.sweep.axes[1] = "train.tokens=[1k, 2k]";
  REQUIRE(plan_sweep(config).groups == Groups{{0, 1, 4}, {2, 3, 6}, {5}, {7}});
  config.sweep.axes[1] = "data.seed=[3, 4]";
  config.sweep.together = 8;
  REQUIRE(plan_sweep(config).groups == Groups{{0, 1, 4, 5}, {2, 3, 6, 7}});
}

TEST_CASE("pairs are seeds of one configuration, and Lorsas with SAEs of their seed",
          "[experiments]") {
  const test::TempDir dir;
  SweepConfig config = small_sweep(dir);
  config.measure.stability = true;
  SweepPlan plan = plan_sweep(config);
  std::vector<std::pair<size_t, size_t>> found;
  for (const Pair& pair : pairs_of(plan)) {
    REQUIRE(pair.kind == Pair::Kind::kStability);
    found.emplace_back(pair.first, pair.second);
  }
  REQUIRE(found == std::vector<std::pair<size_t, size_t>>{{0, 1}, {2, 3}, {4, 5}, {6, 7}});
  plan.measure.stability = false;
  plan.measure.errors = true;
  found.clear();
  for (const Pair& pair : pairs_of(plan)) {
    REQUIRE(pair.kind == Pair::Kind::kErrors);
    found.emplace_back(pair.first, pair.second);
  }
  REQUIRE(found == std::vector<std::pair<size_t, size_t>>{
                       {0, 4}, {0, 6}, {1, 5}, {1, 7}, {2, 4}, {2, 6}, {3, 5}, {3, 7}});
  REQUIRE(pairs_of(plan)[0].file(plan).filename() ==
          plan.runs[0].name + "--" + plan.runs[4].name + ".json");
}

TEST_CASE("a result counts while configuration and measures are the same", "[experiments]") {
  const test::TempDir dir;
  SweepConfig config = small_sweep(dir);
  const RunPlan run = plan_sweep(config).runs[0];
  const io::Json measured = measured_with(config.measure, run);
  REQUIRE_FALSE(standing_result(run, measured));
  io::make_directories(run.folder);
  const io::Json result = {{"configuration", run.configuration}, {"measured_with", measured}};
  io::write_json(run.result(), result);
  REQUIRE(standing_result(run, measured) == result);
  config.measure.max_rows = 3;
  REQUIRE_FALSE(standing_result(run, measured_with(config.measure, run)));
  config.sweep.set = {"run.threads=3", "checkpoint.keep=9"};
  REQUIRE(standing_result(plan_sweep(config).runs[0], measured) == result);
  config.sweep.set = {"train.learning_rate=0.5", "train.eps=0.25"};
  require_parts(
      message_of<ConfigError>(
          [&] { static_cast<void>(standing_result(plan_sweep(config).runs[0], measured)); }),
      {run.folder.string(), "train.learning_rate: the run has 0.001", "0.5", "train.eps"});
}

TEST_CASE("a training that was begun with other settings is refused", "[experiments]") {
  const test::TempDir dir;
  SweepConfig config = small_sweep(dir);
  const RunPlan run = plan_sweep(config).runs[0];
  train::RunConfig begun = run.config;
  config::Fields fields;
  describe(fields, begun);
  io::make_directories(run.folder);
  io::write_file(run.folder / "config.yaml", config::to_yaml(fields));
  REQUIRE_FALSE(standing_result(run, measured_with(config.measure, run)));
  begun.data.cache = "other/cache";
  io::write_file(run.folder / "config.yaml", config::to_yaml(fields));
  require_parts(message_of<ConfigError>([&] {
                  static_cast<void>(standing_result(run, measured_with(config.measure, run)));
                }),
                {"data.cache", "other/cache", "some/cache"});
}

TEST_CASE("runs go on together only from a newest checkpoint that all of them have",
          "[experiments]") {
  const test::TempDir dir;
  const SweepPlan plan = plan_sweep(small_sweep(dir));
  const auto checkpoint = [&](size_t run, const char* name) {
    io::make_directories(plan.runs[run].folder / "checkpoints" / name);
  };
  using Sessions = std::vector<std::vector<size_t>>;
  REQUIRE(sessions_of(plan, {0, 1, 2}) == Sessions{{0, 1, 2}});
  checkpoint(0, "tokens-000000000100");
  checkpoint(0, "tokens-000000000200");
  checkpoint(1, "tokens-000000000200");
  checkpoint(2, "tokens-000000000100");
  checkpoint(3, "tokens-000000000100.tmp");
  REQUIRE(sessions_of(plan, {0, 1, 2, 3, 4}) == Sessions{{0, 1}, {2}, {3, 4}});
  io::make_directories(plan.runs[0].final_checkpoint());
  io::write_file(plan.runs[0].final_checkpoint() / "lorsa.json", "{}");
  REQUIRE(sessions_of(plan, {0, 1}) == Sessions{{1}});
  REQUIRE(sessions_of(plan, {0}).empty());
}

TEST_CASE("a lock is held by one at a time and free once it is let go", "[experiments]") {
  const test::TempDir dir;
  const fs::path file = dir / "locks" / "one.lock";
  {
    const std::optional<SweepLock> first = SweepLock::try_take(file);
    REQUIRE(first);
    REQUIRE_FALSE(SweepLock::try_take(file));
    REQUIRE(SweepLock::try_take(dir / "locks" / "other.lock"));
  }
  REQUIRE(SweepLock::try_take(file));
}

TEST_CASE("the table has mean and standard deviation over seeds", "[experiments]") {
  const std::string table = table_of(example_results());
  REQUIRE(table ==
          "model.kind  model.d_qk  n  fvu             parameters  kl\n"
          "lorsa       8           2  0.3 +- 0.07071  120000      0.5\n"
          "sae         0           1  0.1             90000       -\n"
          "lorsa       4           1  0.4             60000       1e-07\n");
}

TEST_CASE("the table shows the columns that are asked for and what pairs have in common",
          "[experiments]") {
  io::Json results = example_results();
  results["page"]["columns"] = {"kl"};
  results["stability"] = {
      {{"first", "lorsa8-0"}, {"second", "lorsa8-1"}, {"share_one_to_one", 0.25}},
      {{"first", "lorsa8-0"}, {"second", "lorsa8-2"}, {"share_one_to_one", 0.75}}};
  REQUIRE(table_of(results) ==
          "model.kind  model.d_qk  n  kl     share_one_to_one\n"
          "lorsa       8           2  0.5    0.5 +- 0.3536\n"
          "sae         0           1  -      -\n"
          "lorsa       4           1  1e-07  -\n");
}

TEST_CASE("table.csv has a line per run at full precision", "[experiments]") {
  io::Json results = example_results();
  results["runs"][0]["metrics"]["fvu"] = 1.0 / 3.0;
  results["runs"][3]["name"] = "a \"name\", quoted";
  REQUIRE(csv_of(results) ==
          "name,model.kind,model.d_qk,run.seed,parameters,fvu,kl\n"
          "lorsa8-0,lorsa,8,0,120000,0.3333333333333333,\n"
          "lorsa8-1,lorsa,8,1,120000,0.35,0.5\n"
          "sae0-0,sae,0,0,90000,0.1,\n"
          "\"a \"\"name\"\", quoted\",lorsa,4,0,60000,0.4,1e-07\n");
}

TEST_CASE("fits average seeds and keep series apart", "[experiments]") {
  const io::Json runs = example_results()["runs"];
  const io::Json fits =
      fits_of({"fvu against parameters by model.kind", "fvu against model.d_qk"}, runs);
  REQUIRE(fits.size() == 3);
  REQUIRE(fits[0]["series"].dump() == R"({"model.kind":"lorsa"})");
  REQUIRE(fits[0]["points"].size() == 2);
  REQUIRE(fits[0]["points"][0] == io::Json({60000.0, 0.4}));
  REQUIRE(fits[0]["points"][1][0] == 120000.0);
  REQUIRE(fits[0]["points"][1][1].get<double>() == Approx(0.3));
  REQUIRE(fits[1]["series"].dump() == R"({"model.kind":"sae"})");
  REQUIRE(fits[2]["points"].size() == 3);
  REQUIRE(fits[2]["x"] == "model.d_qk");
  for (const io::Json& fit : fits) {
    REQUIRE(fit.contains("error"));  // no law goes through so few points
    REQUIRE_FALSE(fit.contains("law"));
  }
}

TEST_CASE("plots are sentences of names", "[experiments]") {
  const Plot plot = parse_plot("fvu against model.d_qk and model.top_k by model.kind", "page");
  REQUIRE(plot.y == "fvu");
  REQUIRE(plot.x == "model.d_qk");
  REQUIRE(plot.second == "model.top_k");
  REQUIRE(plot.series == std::vector<std::string>{"model.kind"});
  REQUIRE(parse_plot("fvu against l0 by model.kind, init.qk", "page").series ==
          std::vector<std::string>{"model.kind", "init.qk"});
  REQUIRE(parse_plot("fvu against l0", "page").series.empty());
  for (const char* text : {"fvu", "fvu against ", "fvu against l0 by ", "fvu against l0 l1",
                           " against l0", "fvu by model.kind against l0", "fvu against and l0"}) {
    require_parts(message_of<ConfigError>([&] { static_cast<void>(parse_plot(text, "page.x")); }),
                  {"page.x", text});
  }
}
