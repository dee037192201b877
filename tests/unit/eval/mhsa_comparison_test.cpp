#include "lorsa/eval/mhsa_comparison.h"

#include <ATen/ATen.h>

#include "lorsa/core/error.h"
#include "lorsa/io/safetensors.h"
#include "support/lorsa_oracle.h"
#include "support/tensors.h"
#include "support/test.h"

using namespace lorsa;
using test::relative_error;

namespace {

constexpr double kTolerance = 1e-6;

// The layer and the Lorsa of scripts/golden/metrics.py, in double.
struct Golden {
  io::SafetensorsReader file{test::golden("metrics/attention.safetensors")};
  kernels::Mhsa layer;
  model::DictionaryShape shape;
  model::DictionaryWeights weights;

  Golden() {
    const auto read = [&](const std::string& name) { return file.read(name).to(at::kDouble); };
    layer.W_Q = read("mhsa.W_Q");
    layer.W_K = read("mhsa.W_K");
    layer.W_V = read("mhsa.W_V");
    layer.W_O = read("mhsa.W_O");
    layer.b_Q = read("mhsa.b_Q");
    layer.b_K = read("mhsa.b_K");
    layer.attn_scale = std::sqrt(static_cast<double>(layer.head_width()));
    layer.rope.rotary_dim = layer.head_width();
    layer.rope.base = read("rope_base").item<double>();
    const at::Tensor W_Q_SDE = read("lorsa.W_Q");
    shape.d_model = W_Q_SDE.size(1);
    shape.num_qk_heads = W_Q_SDE.size(0);
    shape.d_qk = W_Q_SDE.size(2);
    shape.num_ov_heads = file.read("lorsa.W_V").size(0);
    shape.top_k = 4;
    shape.rope = layer.rope;
    shape.rope.rotary_dim = shape.d_qk;
    const auto rows = [&](const std::string& name) {
      return read(name).transpose(1, 2).reshape({-1, shape.d_model}).contiguous();
    };
    weights.W_Q = rows("lorsa.W_Q");
    weights.W_K = rows("lorsa.W_K");
    weights.b_Q = read("lorsa.b_Q");
    weights.b_K = read("lorsa.b_K");
    weights.W_V = read("lorsa.W_V");
    weights.W_O = read("lorsa.W_O");
    weights.b_V = at::zeros({shape.num_ov_heads}, at::kDouble);
    weights.b_D = at::zeros({shape.d_model}, at::kDouble);
  }

  [[nodiscard]] model::Dictionary dictionary() const { return {shape, weights}; }

  [[nodiscard]] at::Tensor x_BTD() const { return file.read("x").to(at::kDouble); }

  [[nodiscard]] at::Tensor scored_BT() const { return file.read("scored").to(at::kBool); }

  void check(const std::string& name, const eval::PatternReport& found) const {
    const auto expected = [&](const char* key) { return file.read(name + "." + key); };
    CHECK(found.num_rows == 3);
    CHECK(found.num_queries == expected("num_queries").item<int64_t>());
    CHECK(relative_error(found.divergence_NS, expected("kl")) < kTolerance);
    CHECK(relative_error(found.first_mass_N, expected("first_mass_mhsa")) < kTolerance);
    CHECK(relative_error(found.first_mass_S, expected("first_mass_qk")) < kTolerance);
    CHECK(found.fidelity == Approx(expected("fidelity").item<double>()).epsilon(kTolerance));
    CHECK(found.closest_qk_N.equal(expected("closest_qk")));
    CHECK(found.closest_mhsa_S.equal(expected("closest_mhsa")));
  }
};

}  // namespace

TEST_CASE("the divergence of attention patterns agrees with numpy", "[eval]") {
  Golden g;
  const std::string name = GENERATE("plain", "virtual");
  CAPTURE(name);
  if (name == "virtual") {
    g.weights.virtual_k = g.file.read("lorsa.virtual_k").to(at::kDouble);
    g.shape.num_virtual_keys = g.weights.virtual_k.size(0);
  }
  const model::Dictionary dictionary = g.dictionary();
  eval::PatternMeter meter(dictionary, g.layer);
  meter.add(g.x_BTD().narrow(0, 0, 1), g.scored_BT().narrow(0, 0, 1));
  meter.add(g.x_BTD().narrow(0, 1, 2), g.scored_BT().narrow(0, 1, 2));
  g.check(name, meter.report());
}

TEST_CASE("a Lorsa with the layer's own QK heads has its patterns", "[eval]") {
  const Golden g;
  const model::Dictionary dictionary = test::exact_lorsa(g.layer);
  eval::PatternMeter meter(dictionary, g.layer);
  meter.add(g.x_BTD(), g.scored_BT());
  const eval::PatternReport report = meter.report();
  CHECK(std::abs(report.fidelity) < 1e-12);
  CHECK(report.closest_qk_N.equal(at::arange(g.layer.num_heads())));
  CHECK(report.closest_mhsa_S.equal(at::arange(g.layer.num_heads())));
  CHECK(relative_error(report.first_mass_S, report.first_mass_N) < 1e-9);
}

TEST_CASE("patterns in float32 are compared as those in double", "[eval]") {
  const Golden g;
  model::DictionaryWeights weights = g.weights;
  for (const auto& [name, tensor] : weights.named()) {
    *tensor = tensor->to(at::kFloat);
  }
  const model::Dictionary dictionary(g.shape, weights);
  const kernels::Mhsa layer = g.layer.to(c10::Device("cpu"), at::kFloat);
  eval::PatternMeter meter(dictionary, layer);
  meter.add(g.x_BTD().to(at::kFloat), g.scored_BT());
  CHECK(relative_error(meter.report().divergence_NS, g.file.read("plain.kl")) < 1e-5);
}

TEST_CASE("without a query after the first position patterns are NaN", "[eval]") {
  const Golden g;
  const model::Dictionary dictionary = g.dictionary();
  eval::PatternMeter meter(dictionary, g.layer);
  const at::Tensor first_BT = at::arange(g.x_BTD().size(1)).eq(0).unsqueeze(0);
  meter.add(g.x_BTD().narrow(0, 0, 1), first_BT);
  CHECK(meter.report().num_queries == 0);
  CHECK(std::isnan(meter.report().fidelity));
}

TEST_CASE("an SAE and tensors that do not fit are refused by the pattern comparison", "[eval]") {
  const Golden g;
  const model::DictionaryShape shape = test::small_sae(model::Activation::kTopK);
  const model::Dictionary sae(shape, test::random_weights(shape));
  REQUIRE_THROWS_AS(eval::PatternMeter(sae, g.layer), ConfigError);
  const model::Dictionary dictionary = g.dictionary();
  eval::PatternMeter meter(dictionary, g.layer);
  REQUIRE_THROWS_AS(meter.add(g.x_BTD(), g.scored_BT().narrow(1, 0, 2)), ShapeError);
  REQUIRE_THROWS_AS(meter.add(g.x_BTD(), g.scored_BT().to(at::kFloat)), ShapeError);
}

TEST_CASE("output shares and their spread agree with numpy", "[eval]") {
  const Golden g;
  const at::Tensor shares = eval::output_shares(g.dictionary(), g.layer);
  CHECK(relative_error(shares, g.file.read("output_shares")) < kTolerance);
  const at::Tensor acts = g.file.read("acts").to(at::kBool);
  const eval::SpreadReport spread = eval::spread_of(shares, acts);
  CHECK(spread.num_heads == g.file.read("num_spread_heads").item<int64_t>());
  CHECK(spread.head_spread == Approx(g.file.read("head_spread").item<double>()).epsilon(1e-12));
  CHECK(at::tensor(spread.histogram_counts, at::kLong).equal(g.file.read("spread_histogram")));
}

TEST_CASE("heads that are silent or write nothing are not spread", "[eval]") {
  const at::Tensor shares = at::tensor({0.5, 0.0, 0.95, 0.2}, at::kDouble).unsqueeze(1);
  const auto acts = [](std::vector<int64_t> which) { return at::tensor(which).to(at::kBool); };
  CHECK(eval::spread_of(shares, acts({1, 1, 1, 0})).num_heads == 2);
  CHECK(eval::spread_of(shares, acts({1, 1, 1, 0})).head_spread == Approx(0.5));
  CHECK(std::isnan(eval::spread_of(shares, acts({0, 1, 0, 0})).head_spread));
  REQUIRE_THROWS_AS(eval::spread_of(shares, acts({1, 1})), ShapeError);
}
