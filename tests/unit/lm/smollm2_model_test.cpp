#include <ATen/ATen.h>

#include "lorsa/core/error.h"
#include "lorsa/io/safetensors.h"
#include "lorsa/lm/language_model.h"
#include "model_folder.h"
#include "support/tensors.h"
#include "support/test.h"

// The real SmolLM2-135M against transformers in float32 (scripts/golden/models.py).

using namespace lorsa;
using lm::LanguageModel;

namespace {

const LanguageModel& smollm2() {
  static const LanguageModel model(test::smollm2_folder(), at::kCPU);
  return model;
}

double max_difference(const at::Tensor& a, const at::Tensor& b) {
  REQUIRE(a.sizes() == b.sizes());
  const at::Tensor difference = (a.to(at::kDouble) - b.to(at::kDouble)).abs();
  return difference.isnan().any().item<bool>() ? 1e9 : difference.max().item<double>();
}

}  // namespace

TEST_CASE("SmolLM2's logits equal those of transformers on eight prompts", "[lm]") {
  const io::SafetensorsReader golden(test::golden("lm/smollm2.safetensors"));
  constexpr double kTolerance = 2e-3;
  for (const std::string name :
       {"code", "digits", "accents", "emoji", "chinese", "one", "long", "repeated"}) {
    CAPTURE(name);
    const at::Tensor logits =
        smollm2().logits(golden.read(name + ".tokens").unsqueeze(0)).squeeze(0);
    const at::Tensor sampled = logits.index({golden.read(name + ".sample_position").to(at::kLong),
                                             golden.read(name + ".sample_entry").to(at::kLong)});
    CHECK(max_difference(sampled, golden.read(name + ".sample_logit")) <= kTolerance);
    CHECK(max_difference(logits.logsumexp(-1), golden.read(name + ".logsumexp")) <= kTolerance);
    CHECK(at::equal(logits.argmax(-1).to(at::kInt), golden.read(name + ".argmax")));
    if (golden.contains(name + ".last_logits")) {
      CHECK(max_difference(logits[-1], golden.read(name + ".last_logits")) <= kTolerance);
    }
  }
}

TEST_CASE("SmolLM2's attention inputs and targets equal the hooks of transformers", "[lm]") {
  const io::SafetensorsReader golden(test::golden("lm/smollm2.safetensors"));
  const std::vector<int64_t> layers = {0, 17, 29};
  const auto taps =
      smollm2().activations(golden.read("taps.tokens").unsqueeze(0), {Site{0}, Site{17}, Site{29}});
  for (size_t i = 0; i < layers.size(); ++i) {
    CAPTURE(layers[i]);
    const at::Tensor input = golden.read(formatted("taps.input.{}", layers[i])).unsqueeze(0);
    const at::Tensor target = golden.read(formatted("taps.target.{}", layers[i])).unsqueeze(0);
    CHECK(test::relative_error(taps[i].input_BTD, input) <= 1e-5);
    CHECK(test::relative_error(taps[i].output_BTD, target) <= 1e-5);
    const kernels::Mhsa attention = smollm2().attention(layers[i]);
    CHECK(test::relative_error(kernels::mhsa_forward(attention, input), target) <= 1e-5);
    CHECK(test::relative_error(kernels::mhsa_forward(attention, taps[i].input_BTD),
                               taps[i].output_BTD) <= 1e-5);
  }
}

TEST_CASE("SmolLM2's published induction heads attend to the token after the last time", "[lm]") {
  // Measured with an independent implementation: layer 17, heads 3, 4 and 5.
  at::manual_seed(4);
  const at::Tensor once = at::randint(100, 40000, {1, 50}, at::kLong);
  const at::Tensor tokens = at::cat({at::zeros({1, 1}, at::kLong), once, once}, 1);
  const auto taps = smollm2().activations(tokens, {Site{17}});
  const at::Tensor pattern_NTT =
      kernels::mhsa_patterns(smollm2().attention(17), taps.at(0).input_BTD)[0];
  // Query 51 + i sees token i again; what followed it stands at 2 + i.
  const at::Tensor mass = pattern_NTT.diagonal(-49, 1, 2).narrow(1, 2, 49).mean(1);
  for (const int64_t head : {3, 4, 5}) {
    CAPTURE(head);
    CHECK(mass[head].item<float>() > 0.5f);
  }
  CHECK(mass[0].item<float>() < 0.3f);
}
