#include "lorsa/model/initialize.h"

#include <ATen/ATen.h>

#include "lorsa/core/error.h"
#include "support/lorsa_oracle.h"
#include "support/tensors.h"
#include "support/test.h"

using namespace lorsa;
using test::relative_error;

namespace {

struct Fixture {
  kernels::Mhsa layer;
  model::DictionaryShape shape;
  model::InitSample sample;
};

Fixture make_fixture() {
  at::manual_seed(21);
  Fixture f;
  const int64_t N = 3, D = 20, A = 8;
  f.layer.W_Q = at::randn({N, D, A}) * 0.3;
  f.layer.W_K = at::randn({1, D, A}) * 0.3;
  f.layer.W_V = at::randn({1, D, A}) * 0.3;
  f.layer.W_O = at::randn({N, A, D}) * 0.3;
  f.layer.attn_scale = std::sqrt(8.0);
  f.layer.rope.rotary_dim = 8;
  f.shape.d_model = D;
  f.shape.num_ov_heads = 96;
  f.shape.num_qk_heads = 6;
  f.shape.d_qk = A;
  f.shape.top_k = 8;
  f.shape.attn_scale = f.layer.attn_scale;
  f.shape.rope = f.layer.rope;
  const at::Tensor raw = at::randn({4, 24, D});
  const at::Tensor target = kernels::mhsa_forward(f.layer, raw);
  f.sample.input_scale = 1.7;
  f.sample.input_BTD = raw * f.sample.input_scale;
  f.sample.target_BTD = target * 2.5;
  f.sample.scored_BT = at::ones({4, 24}, at::kBool);
  f.sample.target_mean_D = f.sample.target_BTD.mean(at::IntArrayRef({0, 1}));
  f.sample.attention = &f.layer;
  return f;
}

double fvu(const Fixture& f, const model::DictionaryWeights& w) {
  const at::Tensor y = model::Dictionary(f.shape, w).reconstruct(f.sample.input_BTD).y_BTD;
  const at::Tensor& t = f.sample.target_BTD;
  return ((y - t).square().sum() / (t - f.sample.target_mean_D).square().sum()).item<double>();
}

}  // namespace

TEST_CASE("mhsa initialisation copies patterns of the layer's heads", "[model]") {
  const Fixture f = make_fixture();
  const model::DictionaryWeights w = model::initialize(
      f.shape, {model::QkInit::kMhsa, model::OvInit::kActiveSubspace, true}, f.sample, 1);
  const at::Tensor patterns =
      kernels::mhsa_patterns(f.layer, f.sample.input_BTD / f.sample.input_scale);
  // With v = 1 at one position and 0 elsewhere a z-pattern is the attention weight: give every head
  // v = 1 by its bias.
  model::DictionaryWeights probe = w;
  probe.W_V = at::zeros_like(w.W_V);
  probe.b_V = at::ones_like(w.b_V);
  const model::Dictionary dictionary(f.shape, probe);
  for (int64_t s = 0; s < 6; ++s) {
    const at::Tensor weights = dictionary.z_patterns(f.sample.input_BTD, {{2, 20, s * 16}})[0];
    REQUIRE(relative_error(weights, patterns[2][s / 2][20]) < 1e-5);
  }
}

TEST_CASE("active_subspace rows lie in what the copied head reads and writes", "[model]") {
  const Fixture f = make_fixture();
  const model::DictionaryWeights w = model::initialize(
      f.shape, {model::QkInit::kMhsa, model::OvInit::kActiveSubspace, false}, f.sample, 1);
  for (int64_t h = 0; h < 96; h += 7) {
    const int64_t m = (h / 16) / 2;
    const at::Tensor value_DA = f.layer.W_V[0];
    const at::Tensor basis = std::get<0>(at::linalg_qr(value_DA, "reduced"));
    const at::Tensor row = w.W_V[h];
    REQUIRE(relative_error(at::mv(basis, at::mv(basis.t(), row)), row) < 1e-4);
    const at::Tensor written = at::mv(f.layer.W_O[m].t(), at::mv(value_DA.t(), row));
    REQUIRE(relative_error(w.W_O[h], written / written.norm()) < 1e-4);
    REQUIRE(w.W_O[h].norm().item<double>() == Approx(1.0).epsilon(1e-5));
  }
}

TEST_CASE("norm_search finds the least loss among uniform scales of W_V", "[model]") {
  const Fixture f = make_fixture();
  const model::InitConfig config{model::QkInit::kMhsa, model::OvInit::kActiveSubspace, true};
  const model::DictionaryWeights w = model::initialize(f.shape, config, f.sample, 1);
  const double best = fvu(f, w);
  REQUIRE(best < 0.9);
  for (const double factor : {0.5, 0.9, 1.1, 2.0}) {
    model::DictionaryWeights other = w;
    other.W_V = w.W_V * factor;
    REQUIRE(fvu(f, other) > best);
  }
}

TEST_CASE("random initialisation has unit output rows and matches the target's variance",
          "[model]") {
  const Fixture f = make_fixture();
  const model::DictionaryWeights w = model::initialize(
      f.shape, {model::QkInit::kRandom, model::OvInit::kRandom, false}, f.sample, 9);
  REQUIRE(relative_error(w.W_O.norm(2, 1), at::ones({96})) < 1e-5);
  const at::Tensor y =
      model::Dictionary(f.shape, w).reconstruct(f.sample.input_BTD).y_BTD.reshape({-1, 20});
  const at::Tensor t = f.sample.target_BTD.reshape({-1, 20});
  const auto variance = [](const at::Tensor& x) {
    return (x - x.mean(0)).square().sum().item<double>();
  };
  REQUIRE(variance(y) == Approx(variance(t)).epsilon(1e-3));
  const double bound = std::sqrt(6.0 / 28.0);
  REQUIRE(w.W_Q.abs().max().item<double>() <= bound);
  REQUIRE(w.W_Q.abs().max().item<double>() > 0.95 * bound);
  REQUIRE(relative_error(w.b_D, f.sample.target_mean_D) < 1e-6);
}

TEST_CASE("the same seed gives the same weights, another seed others", "[model]") {
  const Fixture f = make_fixture();
  const model::InitConfig config;
  const at::Tensor a = model::initialize(f.shape, config, f.sample, 3).W_O;
  const at::Tensor b = model::initialize(f.shape, config, f.sample, 3).W_O;
  const at::Tensor c = model::initialize(f.shape, config, f.sample, 4).W_O;
  REQUIRE(at::equal(a, b));
  REQUIRE_FALSE(at::equal(a, c));
}

TEST_CASE("sizes that the layer's heads do not fit are refused with both sizes", "[model]") {
  const Fixture f = make_fixture();
  const model::InitConfig config{model::QkInit::kMhsa, model::OvInit::kActiveSubspace, true};
  model::DictionaryShape shape = f.shape;
  shape.d_qk = 4;
  shape.rope.rotary_dim = 4;
  REQUIRE_THROWS_WITH(model::initialize(shape, config, f.sample, 1),
                      Catch::Contains("4") && Catch::Contains("8"));
  shape = f.shape;
  shape.num_qk_heads = 2;
  REQUIRE_THROWS_WITH(model::initialize(shape, config, f.sample, 1),
                      Catch::Contains("2") && Catch::Contains("3"));
  model::InitSample bare = f.sample;
  bare.attention = nullptr;
  REQUIRE_THROWS_AS(model::initialize(f.shape, config, bare, 1), ConfigError);
  REQUIRE_THROWS_AS(
      model::initialize(f.shape, {model::QkInit::kRandom, model::OvInit::kActiveSubspace, true},
                        f.sample, 1),
      ConfigError);
}

TEST_CASE("an SAE starts with tied unit rows, centred, its scale searched", "[model]") {
  Fixture f = make_fixture();
  f.shape = test::small_sae(model::Activation::kTopK);
  f.shape.d_model = 20;
  f.shape.num_ov_heads = 96;
  // Targets in three directions around a mean.
  const at::Tensor directions = at::randn({3, 20});
  f.sample.target_BTD = at::matmul(at::randn({4, 24, 3}), directions) + at::randn({20});
  f.sample.target_mean_D = f.sample.target_BTD.mean(at::IntArrayRef({0, 1}));
  f.sample.input_BTD = f.sample.target_BTD;
  for (const auto ov : {model::OvInit::kRandom, model::OvInit::kActiveSubspace}) {
    const model::DictionaryWeights w =
        model::initialize(f.shape, {model::QkInit::kRandom, ov, true}, f.sample, 1);
    REQUIRE_FALSE(w.W_Q.defined());
    REQUIRE(relative_error(w.W_O.norm(2, 1), at::ones({96})) < 1e-6);
    const at::Tensor length = w.W_V.norm(2, 1);
    REQUIRE(relative_error(w.W_V / length.unsqueeze(1), w.W_O) < 1e-5);
    REQUIRE(relative_error(length, length[0].expand({96}).clone()) < 1e-5);
    // z of the mean is 0.
    REQUIRE((at::mv(w.W_V, w.b_D) + w.b_V).abs().max().item<double>() < 1e-5);
    REQUIRE(fvu(f, w) < 1.0);
    const at::Tensor outside =
        w.W_O - at::mm(w.W_O, at::mm(at::linalg_pinv(directions), directions));
    const bool inside = outside.norm().item<double>() < 1e-2 * w.W_O.norm().item<double>();
    REQUIRE(inside == (ov == model::OvInit::kActiveSubspace));
  }
}
