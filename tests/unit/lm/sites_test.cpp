#include <ATen/ATen.h>

#include "lorsa/core/error.h"
#include "lorsa/core/site.h"
#include "lorsa/io/safetensors.h"
#include "lorsa/lm/language_model.h"
#include "support/paths.h"
#include "support/tensors.h"
#include "support/test.h"

// Both components of every layer against the hooks of transformers (scripts/golden/sites.py).
// Errors are max abs difference / max abs.

using namespace lorsa;
using namespace lorsa::lm;

namespace {

const std::vector<std::string> kSiteModels = {"tiny-tied",  "tiny-llama3",
                                              "tiny-plain", "tiny-qwen3-bias",
                                              "tiny-neox",  "tiny-neox-sequential"};

struct SiteGolden {
  explicit SiteGolden(const std::string& name)
      : model(test::golden("lm") / name, at::kCPU),
        tokens_BT(io::SafetensorsReader(test::golden("lm/" + name + ".safetensors"))
                      .read("tokens")
                      .to(at::kLong)) {
    for (int64_t layer = 0; layer < model.config().num_layers; ++layer) {
      sites.push_back({layer, Component::kAttention});
      sites.push_back({layer, Component::kMlp});
    }
  }

  LanguageModel model;
  at::Tensor tokens_BT;
  std::vector<Site> sites;
};

Edit times(const Site& site, double factor) {
  return {site, [factor](const at::Tensor&, const at::Tensor& out) { return out * factor; }};
}

}  // namespace

TEST_CASE("what MLPs read and write equals the hooks of transformers", "[lm]") {
  const io::SafetensorsReader expected(test::golden("lm/sites.safetensors"));
  for (const std::string& name : kSiteModels) {
    const SiteGolden golden(name);
    const auto found = golden.model.activations(golden.tokens_BT, golden.sites);
    REQUIRE(found.size() == golden.sites.size());
    for (size_t i = 1; i < found.size(); i += 2) {
      const int64_t layer = golden.sites[i].layer;
      CAPTURE(name, layer);
      const at::Tensor input = expected.read(formatted("{}.input.{}", name, layer));
      const at::Tensor output = expected.read(formatted("{}.output.{}", name, layer));
      CHECK(test::relative_error(found[i].input_BTD, input) <= 1e-5);
      CHECK(test::relative_error(found[i].output_BTD, output) <= 1e-5);
    }
  }
}

TEST_CASE("edits of several sites at once equal the hooks of transformers", "[lm]") {
  const io::SafetensorsReader expected(test::golden("lm/sites.safetensors"));
  for (const std::string& name : kSiteModels) {
    CAPTURE(name);
    const SiteGolden golden(name);
    const std::vector<Edit> edits = {times({1, Component::kMlp}, -1.0), times({0}, 0.5),
                                     times({1}, 2.0)};
    const at::Tensor edited = golden.model.logits(golden.tokens_BT, edits);
    CHECK(test::relative_error(edited, expected.read(name + ".edited")) <= 1e-5);
    CHECK(test::relative_error(edited, golden.model.logits(golden.tokens_BT)) > 1e-2);
  }
}

TEST_CASE("a site's activations do not depend on what else is tapped", "[lm]") {
  for (const std::string name : {"tiny-llama3", "tiny-neox", "tiny-neox-sequential"}) {
    CAPTURE(name);
    const SiteGolden golden(name);
    const auto all = golden.model.activations(golden.tokens_BT, golden.sites);
    for (size_t i = 0; i < golden.sites.size(); ++i) {
      const auto alone = golden.model.activations(golden.tokens_BT, {golden.sites[i]});
      CHECK(test::relative_error(alone[0].input_BTD, all[i].input_BTD) <= 1e-6);
      CHECK(test::relative_error(alone[0].output_BTD, all[i].output_BTD) <= 1e-6);
    }
  }
}

TEST_CASE("a tap of an edited site sees what the site itself wrote", "[lm]") {
  const SiteGolden golden("tiny-plain");
  const Site first{0};
  const Site second{1};
  const auto plain = golden.model.run(golden.tokens_BT, {first, second});
  const auto edited = golden.model.run(golden.tokens_BT, {first, second}, {times(first, 0.0)});
  CHECK(at::equal(edited.taps[0].output_BTD, plain.taps[0].output_BTD));
  CHECK_FALSE(at::allclose(edited.taps[1].input_BTD, plain.taps[1].input_BTD));
  CHECK_FALSE(at::allclose(edited.hidden_BTD, plain.hidden_BTD));
  const auto ended = golden.model.run(golden.tokens_BT, {first}, {}, Until::kLastTap);
  CHECK_FALSE(ended.hidden_BTD.defined());
  CHECK(at::equal(ended.taps[0].output_BTD, plain.taps[0].output_BTD));
}

TEST_CASE("a last MLP that was not loaded is no site", "[lm]") {
  const auto folder = test::golden("lm/tiny-plain");
  const at::Tensor tokens = at::zeros({1, 4}, at::kLong);
  const Site mlp{1, Component::kMlp};
  const LanguageModel without(folder, at::kCPU, {.num_layers = 2, .head = Head::kSkip});
  CHECK_THROWS_WITH(without.activations(tokens, {mlp}),
                    Catch::Contains("the MLP of layer 1 was not loaded"));
  CHECK(without.activations(tokens, {{0, Component::kMlp}}).size() == 1);
  const LanguageModel with(
      folder, at::kCPU, {.num_layers = 2, .head = Head::kSkip, .last_component = Component::kMlp});
  const LanguageModel whole(folder, at::kCPU);
  CHECK(at::equal(with.activations(tokens, {mlp})[0].output_BTD,
                  whole.activations(tokens, {mlp})[0].output_BTD));
}

TEST_CASE("runs refuse sites that they do not pass", "[lm]") {
  const SiteGolden golden("tiny-plain");
  const LanguageModel& model = golden.model;
  const at::Tensor& tokens = golden.tokens_BT;
  const Site mlp{1, Component::kMlp};
  const Residual residual = model.residual_before(tokens, 2);
  CHECK_THROWS_WITH(model.run(residual, {mlp}), Catch::Contains("layer 1, mlp"));
  CHECK_THROWS_WITH(model.run(residual, {}, {times(mlp, 2.0)}),
                    Catch::Contains("layer 1, mlp is to be edited, but this run does not pass it"));
  CHECK_THROWS_WITH(model.run(tokens, {Site{1}}, {times(mlp, 2.0)}, Until::kLastTap),
                    Catch::Contains("does not pass"));
  CHECK_THROWS_WITH(model.logits(tokens, {times(mlp, 2.0), times(mlp, 3.0)}),
                    Catch::Contains("twice"));
  CHECK_THROWS_WITH(model.activations(tokens, {mlp, Site{1}}), Catch::Contains("must ascend"));
  CHECK_THROWS_WITH(model.logits(tokens, {{mlp, nullptr}}), Catch::Contains("no edit is given"));
}
