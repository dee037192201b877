#include "lorsa/lm/language_model.h"

#include <ATen/ATen.h>

#include "lorsa/core/error.h"
#include "lorsa/io/safetensors.h"
#include "support/tensors.h"
#include "support/test.h"

// The calls of LanguageModel; exact_model_test.cpp holds every architecture against transformers.
// Errors are max abs difference / max abs.

using namespace lorsa;
using namespace lorsa::lm;

namespace {

struct Golden {
  explicit Golden(const std::string& name)
      : model(test::golden("lm") / name, at::kCPU),
        reader(test::golden("lm/" + name + ".safetensors")),
        tokens_BT(reader.read("tokens")) {}

  LanguageModel model;
  io::SafetensorsReader reader;
  at::Tensor tokens_BT;
};

at::Tensor keep(const at::Tensor& /*input*/, const at::Tensor& output) {
  return output;
}

}  // namespace

TEST_CASE("activations of many rows equal those of one row at a time", "[lm]") {
  at::manual_seed(1);
  const Golden golden("tiny-llama3");
  const at::Tensor tokens = at::randint(0, 97, {21, 220}, at::kLong);
  const auto all = golden.model.activations(tokens, {Site{0}, Site{2}});
  for (const int64_t row : {0, 8, 9, 20}) {
    const auto one = golden.model.activations(tokens.narrow(0, row, 1), {Site{0}, Site{2}});
    for (size_t i = 0; i < 2; ++i) {
      CAPTURE(row, i);
      CHECK(test::relative_error(all[i].input_BTD.narrow(0, row, 1), one[i].input_BTD) <= 1e-6);
      CHECK(test::relative_error(all[i].output_BTD.narrow(0, row, 1), one[i].output_BTD) <= 1e-6);
    }
  }
}

TEST_CASE("an edit replaces the output of its layers and of no other", "[lm]") {
  const Golden golden(GENERATE("tiny-tied", "tiny-neox", "tiny-neox-sequential"));
  const at::Tensor expected = golden.reader.read("logits");
  const auto taps = golden.model.activations(golden.tokens_BT, {Site{0}, Site{1}, Site{2}});
  std::vector<int64_t> seen;
  const auto check_and_keep = [&](int64_t layer) {
    return Edit{Site{layer}, [&, layer](const at::Tensor& input, const at::Tensor& output) {
                  seen.push_back(layer);
                  const SiteActivations& tap = taps[static_cast<size_t>(layer)];
                  CHECK(test::relative_error(input, tap.input_BTD) <= 1e-6);
                  CHECK(test::relative_error(output, tap.output_BTD) <= 1e-6);
                  return output;
                }};
  };
  const at::Tensor kept =
      golden.model.logits(golden.tokens_BT, {check_and_keep(0), check_and_keep(2)});
  CHECK(seen == std::vector<int64_t>{0, 2});
  CHECK(test::relative_error(kept, expected) <= 1e-5);

  // The layer's own attention put in its place changes nothing; zeros in its place do.
  const kernels::Mhsa attention = golden.model.attention(1);
  const auto own = [&](const at::Tensor& input, const at::Tensor&) {
    return kernels::mhsa_forward(attention, input);
  };
  CHECK(test::relative_error(golden.model.logits(golden.tokens_BT, {{Site{1}, own}}), expected) <=
        1e-5);
  const auto zero = [](const at::Tensor&, const at::Tensor& output) {
    return at::zeros_like(output);
  };
  CHECK(test::relative_error(golden.model.logits(golden.tokens_BT, {{Site{1}, zero}}), expected) >
        1e-2);
}

TEST_CASE("a run from the residual before a layer equals the whole run", "[lm]") {
  const Golden golden(GENERATE("tiny-llama3", "tiny-neox"));
  const auto half = [](const at::Tensor&, const at::Tensor& output) { return output * 0.5; };
  for (int64_t first = 0; first < 3; ++first) {
    CAPTURE(first);
    const std::vector<Edit> edits = {{Site{first}, half}};
    const Residual residual = golden.model.residual_before(golden.tokens_BT, first);
    const at::Tensor before = residual.residual_BTD.clone();
    const at::Tensor whole = golden.model.final_hidden(golden.tokens_BT, edits);
    CHECK(at::equal(golden.model.final_hidden(residual, edits), whole));
    CHECK(at::equal(residual.residual_BTD, before));
    CHECK(at::equal(golden.model.final_hidden(residual),
                    golden.model.final_hidden(golden.tokens_BT)));
  }
}

TEST_CASE("unembed and direct_logits use the stored head and final gain", "[lm]") {
  at::manual_seed(2);
  const Golden golden("tiny-plain");
  const io::SafetensorsReader file(test::golden("lm/tiny-plain/model.safetensors"));
  const at::Tensor W = file.read("lm_head.weight").to(at::kDouble);
  const at::Tensor gain = file.read("model.norm.weight").to(at::kDouble);
  const at::Tensor d = at::randn({5, 24});
  CHECK(test::relative_error(golden.model.unembed(d), at::mm(d.to(at::kDouble), W.t())) <= 1e-6);
  CHECK(test::relative_error(golden.model.direct_logits(d),
                             at::mm(d.to(at::kDouble) * gain, W.t())) <= 1e-6);
  CHECK_THROWS_AS(golden.model.direct_logits(at::zeros({5, 23})), ShapeError);
  CHECK_THROWS_AS(golden.model.unembed(at::zeros({5, 23})), ShapeError);
}

TEST_CASE("direct_logits of a LayerNorm model leaves out what the norm removes", "[lm]") {
  at::manual_seed(2);
  const LanguageModel model(test::golden("lm/tiny-neox"), at::kCPU);
  const io::SafetensorsReader file(test::golden("lm/tiny-neox/model.safetensors"));
  const at::Tensor W = file.read("embed_out.weight").to(at::kDouble);
  const at::Tensor gain = file.read("gpt_neox.final_layer_norm.weight").to(at::kDouble);
  const at::Tensor d = at::randn({5, 30}, at::kDouble);
  const at::Tensor expected = at::mm((d - d.mean(1, true)) * gain, W.t());
  CHECK(test::relative_error(model.direct_logits(d), expected) <= 1e-6);
  CHECK(test::relative_error(model.direct_logits(d + 3.0), expected) <= 1e-6);
}

TEST_CASE("weights_sha256 is that of sha256sum", "[lm]") {
  // sha256sum tests/golden/lm/tiny-plain/model.safetensors
  CHECK(Golden("tiny-plain").model.weights_sha256() ==
        "5299c522da4708773cf80c202312ac1d4b2e0c038f3790536f5f3b7fbf2a9fa7");
  // sha256sum *.safetensors | sha256sum, in tests/golden/lm/tiny-llama3
  CHECK(Golden("tiny-llama3").model.weights_sha256() ==
        "4c7e08797ddfefcf004a44e31e0aa1e1acaba276d30dfc0ba21bdc8290211603");
}

TEST_CASE("calls that do not fit the model are refused", "[lm]") {
  const Golden golden("tiny-plain");
  const LanguageModel& model = golden.model;
  const at::Tensor tokens = at::zeros({1, 4}, at::kLong);
  at::Tensor outside = tokens.clone();
  outside[0][2] = 97;
  CHECK_THROWS_AS(model.logits(outside), FormatError);
  CHECK_THROWS_WITH(model.activations(outside, {Site{0}}),
                    Catch::Contains("97") && Catch::Contains("position 2"));
  outside[0][2] = -1;
  CHECK_THROWS_AS(model.residual_before(outside, 1), FormatError);
  CHECK_THROWS_AS(model.logits(at::zeros({4}, at::kLong)), ShapeError);
  CHECK_THROWS_AS(model.logits(at::zeros({1, 4})), ShapeError);
  CHECK_THROWS_AS(model.logits(at::zeros({1, 257}, at::kLong)), ConfigError);
  CHECK_THROWS_AS(model.logits(at::zeros({1, 0}, at::kLong)), ConfigError);
  CHECK_THROWS_AS(model.activations(tokens, {Site{3}}), ConfigError);
  CHECK_THROWS_AS(model.activations(tokens, {Site{-1}}), ConfigError);
  CHECK_THROWS_AS(model.activations(tokens, {Site{1}, Site{0}}), ConfigError);
  CHECK_THROWS_AS(model.attention(3), ConfigError);
  CHECK_THROWS_AS(model.logits(tokens, {{Site{3}, keep}}), ConfigError);
  CHECK_THROWS_AS(model.logits(tokens, {{Site{1}, nullptr}}), ConfigError);
  const Residual residual = model.residual_before(tokens, 2);
  CHECK_THROWS_AS(model.final_hidden(residual, {{Site{1}, keep}}), ConfigError);
  CHECK_THROWS_AS(model.final_hidden(Residual{at::zeros({1, 4, 23}), 2}), ShapeError);
  const auto cut = [](const at::Tensor&, const at::Tensor& output) {
    return output.narrow(1, 0, 2);
  };
  CHECK_THROWS_AS(model.logits(tokens, {{Site{1}, cut}}), ShapeError);
  const auto folder = test::golden("lm/tiny-plain");
  CHECK_THROWS_AS(LanguageModel(folder, at::kCPU, {.dtype = "float16"}), ConfigError);
}
