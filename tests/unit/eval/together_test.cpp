#include "lorsa/eval/together.h"

#include <ATen/ATen.h>

#include "eval_setup.h"
#include "lorsa/core/error.h"
#include "lorsa/io/safetensors.h"
#include "lorsa/model/checkpoint.h"
#include "lorsa/model/initialize.h"
#include "support/paths.h"
#include "support/test.h"
#include "support/throws.h"

using namespace lorsa;
using test::Setup;

TEST_CASE("three sites of SmolLM2 replaced at once cost what transformers' hooks say", "[eval]") {
  // scripts/golden/together.py: a Lorsa, an SAE and a transcoder in float64.
  const std::filesystem::path golden = test::golden("eval/together");
  const io::SafetensorsReader expected(golden / "expected.safetensors");
  const lm::LanguageModel model(test::smollm2_folder(), at::kCPU);
  std::vector<model::LoadedDictionary> loaded;
  for (const char* name : {"attention-17", "attention-18", "mlp-17"}) {
    loaded.push_back(model::load_folded(golden / name));
    CHECK(loaded.back().info.weights_sha256 == model.weights_sha256());
  }
  std::vector<eval::Replacement> replacements;
  for (const model::LoadedDictionary& each : loaded) {
    replacements.push_back({each.info.site, &each.dictionary});
  }
  eval::TogetherMeter meter(model, replacements);
  meter.add(expected.read("tokens"), expected.read("scored").to(at::kBool));
  const eval::TogetherReport report = meter.report();
  const auto number = [&](const char* name) { return expected.read(name).item<double>(); };
  CHECK(report.ce_original == Approx(number("ce_original")).margin(1e-5));
  CHECK(report.ce_zero_ablated == Approx(number("ce_zero")).margin(1e-5));
  CHECK(report.together.ce == Approx(number("ce_together")).margin(1e-5));
  CHECK(report.together.kl == Approx(number("kl_together")).margin(1e-5));
  REQUIRE(report.alone.size() == 3);
  for (int64_t i = 0; i < 3; ++i) {
    CAPTURE(i);
    const eval::TogetherReport::Alone& alone = report.alone[static_cast<size_t>(i)];
    CHECK(alone.loss.ce == Approx(expected.read("ce_alone")[i].item<double>()).margin(1e-5));
    CHECK(alone.loss.kl == Approx(expected.read("kl_alone")[i].item<double>()).margin(1e-5));
  }
}

TEST_CASE("layers replaced by the Lorsas that they are lose nothing", "[eval]") {
  const Setup s;
  const auto save = [&](int64_t layer) {
    model::CheckpointInfo info;
    info.model_name = "tiny";
    info.weights_sha256 = s.model.weights_sha256();
    info.site = {layer, Component::kAttention};
    info.input_convention = "rms_normalized";
    const auto folder = s.dir / formatted("layer-{}", layer);
    model::save_checkpoint(folder, model::of_attention(s.model.attention(layer)), info);
    return folder;
  };
  test::EvalCall options = s.save(s.exact());
  const std::vector<std::filesystem::path> checkpoints = {save(1), save(0)};
  const auto together = [&](const std::vector<std::filesystem::path>& folders) {
    return eval::evaluate_together(test::study_of(options, folders), options.pass);
  };
  const eval::TogetherReport report = together(checkpoints);
  CHECK(report.num_rows == 4);
  CHECK(report.together.ce == Approx(report.ce_original).epsilon(1e-5));
  CHECK(report.together.kl < 1e-6);
  CHECK(report.ce_recovered == Approx(1.0).margin(1e-3));
  CHECK(report.alone.at(0).site == Site{1});
  CHECK(report.alone.at(1).checkpoint == checkpoints[1].string());
  const io::Json json = to_json(report);
  CHECK(json["ce_replaced"].get<double>() == report.together.ce);
  CHECK(json["alone"][1]["layer"] == 0);
  for (const char* part : {"layer 1, attention alone", "all together", "2 sites"}) {
    CHECK_THAT(to_table(report), Catch::Contains(part));
  }
  CHECK_THROWS_WITH(together({checkpoints[0], checkpoints[0]}),
                    Catch::Contains("two checkpoints stand for layer 1, attention"));
  CHECK_THROWS_AS(together({}), ConfigError);
  options.model.clear();
  CHECK_THROWS_WITH(together(checkpoints), Catch::Contains("expected a language model"));
}
