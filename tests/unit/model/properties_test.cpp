#include <ATen/ATen.h>

#include "lorsa/core/error.h"
#include "lorsa/kernels/mhsa.h"
#include "lorsa/model/dictionary.h"
#include "lorsa/model/initialize.h"
#include "support/lorsa_oracle.h"
#include "support/tensors.h"
#include "support/test.h"

// The properties of docs/method.md that hold to rounding; gradients_test.cpp holds number 7.

using namespace lorsa;
using test::relative_error;

namespace {

using model::Activation;

const auto kActivations = {Activation::kTopK, Activation::kTopKSigned};
const auto kAllActivations = {Activation::kTopK, Activation::kTopKSigned, Activation::kBatchTopK,
                              Activation::kRelu, Activation::kJumpRelu};

model::Dictionary make_lorsa(model::Activation activation,
                             uint64_t seed,
                             bool qk_norm = false,
                             int64_t virtual_keys = 0) {
  at::manual_seed(seed);
  model::DictionaryShape shape = test::small_shape(activation, qk_norm);
  shape.num_virtual_keys = virtual_keys;
  return model::Dictionary(shape, test::random_weights(shape));
}

at::Tensor random_input(int64_t positions = 9) {
  return at::randn({2, positions, 7}, at::kDouble);
}

}  // namespace

TEST_CASE("the z-pattern of a head sums to its z", "[model]") {
  for (const int64_t virtual_keys : {0, 3}) {
    const bool qk_norm = virtual_keys > 0;
    const model::Dictionary dictionary =
        make_lorsa(model::Activation::kTopK, 1, qk_norm, virtual_keys);
    const at::Tensor x = random_input();
    const at::Tensor z = dictionary.pre_activations(x).view({2, 9, 12});
    std::vector<model::PatternQuery> queries;
    std::vector<double> expected;
    for (int64_t row = 0; row < 2; ++row) {
      for (int64_t position = 0; position < 9; ++position) {
        for (int64_t head = 0; head < 12; ++head) {
          queries.push_back({row, position, head});
          expected.push_back(z[row][position][head].item<double>());
        }
      }
    }
    const at::Tensor patterns = dictionary.z_patterns(x, queries);
    REQUIRE(relative_error(patterns.sum(1), at::tensor(expected, at::kDouble)) < 1e-12);
    REQUIRE(relative_error(dictionary.z_patterns(dictionary.read(x), queries), patterns) < 1e-12);
    for (size_t i = 0; i < queries.size(); ++i) {
      const int64_t later = 9 - queries[i].position - 1;
      const at::Tensor tail =
          patterns[static_cast<int64_t>(i)].narrow(0, queries[i].position + 1, later);
      REQUIRE(tail.count_nonzero().item<int64_t>() == 0);
    }
  }
}

TEST_CASE("z_patterns refuses a query outside the batch", "[model]") {
  const model::Dictionary dictionary = make_lorsa(model::Activation::kTopK, 1);
  REQUIRE_THROWS_AS(dictionary.z_patterns(random_input(), {{0, 9, 0}}), ShapeError);
  REQUIRE_THROWS_AS(dictionary.z_patterns(random_input(), {{0, 0, 12}}), ShapeError);
  REQUIRE_THROWS_AS(dictionary.z_patterns(dictionary.read(random_input()), {{2, 0, 0}}),
                    ShapeError);
}

TEST_CASE("reading a batch keeps the heads that reconstructing it keeps", "[model]") {
  for (const auto activation : kActivations) {
    const model::Dictionary dictionary = make_lorsa(activation, 2);
    const at::Tensor x = random_input();
    const kernels::TopK expected = dictionary.reconstruct(x).kept;
    const kernels::TopK found = dictionary.read(x).kept;
    REQUIRE(expected.value_PK.count_nonzero().item<int64_t>() > 0);
    REQUIRE(at::equal(found.value_PK, expected.value_PK));
    REQUIRE(at::equal(found.head_PK, expected.head_PK));
  }
}

TEST_CASE("the output does not change under W_V c, b_V c, W_O / c", "[model]") {
  for (const auto activation : kActivations) {
    model::Dictionary dictionary = make_lorsa(activation, 2);
    const at::Tensor x = random_input();
    const at::Tensor before = dictionary.reconstruct(x).y_BTD;
    const at::Tensor c_H = at::rand({12}, at::kDouble) * 3.0 + 0.2;
    dictionary.weights().W_V.mul_(c_H.unsqueeze(1));
    dictionary.weights().b_V.mul_(c_H);
    dictionary.weights().W_O.div_(c_H.unsqueeze(1));
    REQUIRE(relative_error(dictionary.reconstruct(x).y_BTD, before) < 1e-12);
  }
}

TEST_CASE("the unit form keeps the output and makes activations the lengths of contributions",
          "[model]") {
  const model::Dictionary original = make_lorsa(model::Activation::kTopK, 3);
  const at::Tensor x = random_input();
  const model::Reconstruction before = original.reconstruct(x);
  const at::Tensor lengths =
      before.kept.value_PK * original.output_norms().index({before.kept.head_PK.to(at::kLong)});
  const model::Dictionary dictionary = original.in_unit_form();
  const model::Reconstruction after = dictionary.reconstruct(x);
  REQUIRE(relative_error(after.y_BTD, before.y_BTD) < 1e-12);
  REQUIRE(relative_error(after.kept.value_PK, lengths) < 1e-12);
  REQUIRE(relative_error(dictionary.output_norms(), at::ones({12}, at::kDouble)) < 1e-12);
}

TEST_CASE("a signed Lorsa with all heads of an MHSA kept reproduces the MHSA", "[model]") {
  at::manual_seed(4);
  kernels::Mhsa layer;
  const int64_t N = 4, Nkv = 2, D = 10, A = 6;
  layer.W_Q = at::randn({N, D, A}, at::kDouble);
  layer.W_K = at::randn({Nkv, D, A}, at::kDouble);
  layer.W_V = at::randn({Nkv, D, A}, at::kDouble);
  layer.W_O = at::randn({N, A, D}, at::kDouble);
  layer.b_Q = at::randn({N, A}, at::kDouble);
  layer.b_K = at::randn({Nkv, A}, at::kDouble);
  layer.b_V = at::randn({Nkv, A}, at::kDouble);
  layer.b_O = at::randn({D}, at::kDouble);
  layer.attn_scale = std::sqrt(6.0);
  layer.rope.rotary_dim = 6;

  const at::Tensor x = at::randn({2, 8, D}, at::kDouble);
  REQUIRE(relative_error(test::exact_lorsa(layer).reconstruct(x).y_BTD,
                         kernels::mhsa_forward(layer, x)) < 1e-12);
}

TEST_CASE("at most K heads act at a position and activations of topk are not negative", "[model]") {
  for (const auto activation : kActivations) {
    const model::Dictionary dictionary = make_lorsa(activation, 5);
    for (const int64_t k : {1, 3, 12}) {
      const kernels::TopK kept = dictionary.reconstruct(random_input(), k).kept;
      REQUIRE(kept.value_PK.size(1) == k);
      REQUIRE((kept.value_PK != 0).sum(1).max().item<int64_t>() <= k);
      REQUIRE((activation == model::Activation::kTopKSigned ||
               (kept.value_PK >= 0).all().item<bool>()));
    }
  }
}

TEST_CASE("a position's output does not depend on later positions", "[model]") {
  const model::Dictionary dictionary = make_lorsa(model::Activation::kTopK, 6);
  const at::Tensor x = random_input();
  at::Tensor changed = x.clone();
  changed.narrow(1, 5, 4).normal_();
  const at::Tensor a = dictionary.reconstruct(x).y_BTD;
  const at::Tensor b = dictionary.reconstruct(changed).y_BTD;
  REQUIRE(relative_error(b.narrow(1, 0, 5), a.narrow(1, 0, 5)) < 1e-13);
  REQUIRE(relative_error(b.narrow(1, 5, 4), a.narrow(1, 5, 4)) > 1e-3);
}

TEST_CASE("the folded model on raw input is the unscaled output of the scaled model", "[model]") {
  for (const auto activation : kAllActivations) {
    model::Dictionary dictionary = make_lorsa(activation, 7, /*qk_norm=*/false, /*virtual_keys=*/2);
    const at::Tensor raw = random_input();
    const double input_scale = 3.7, target_scale = 0.21;
    const at::Tensor unscaled = dictionary.reconstruct(raw * input_scale).y_BTD / target_scale;
    dictionary.fold(input_scale, target_scale);
    REQUIRE(relative_error(dictionary.reconstruct(raw).y_BTD, unscaled) < 1e-12);
  }
}

TEST_CASE("one grouped attention call equals the loop over heads", "[model]") {
  for (const auto activation : kAllActivations) {
    for (const int64_t virtual_keys : {0, 2}) {
      const model::Dictionary dictionary =
          make_lorsa(activation, 8, virtual_keys > 0, virtual_keys);
      const at::Tensor x = random_input(13);
      const at::Tensor all = at::ones({2, 13}, at::kBool);
      const at::Tensor z = dictionary.pre_activations(x).view({2, 13, 12});
      REQUIRE(relative_error(z, test::oracle_z(dictionary.shape(), dictionary.weights(), x)) <
              1e-12);
      REQUIRE(relative_error(
                  dictionary.reconstruct(x).y_BTD,
                  test::oracle_output(dictionary.shape(), dictionary.weights(), x, all)) < 1e-12);
    }
  }
}

TEST_CASE("batchtopk keeps K heads a position on average and more where they count", "[model]") {
  const model::Dictionary dictionary = make_lorsa(Activation::kBatchTopK, 9);
  at::Tensor x = random_input(20);
  x.narrow(1, 0, 5).mul_(0.05);
  const kernels::TopK kept = dictionary.reconstruct(x, 2).kept;
  const at::Tensor count_P = (kept.value_PK != 0).sum(1);
  REQUIRE(count_P.sum().item<int64_t>() == 2 * 40);
  REQUIRE(count_P.max().item<int64_t>() > 2);
  REQUIRE(count_P.min().item<int64_t>() < 2);
}

TEST_CASE("a topk Lorsa becomes a jumprelu one that keeps what exceeds the threshold", "[model]") {
  for (const auto activation : {Activation::kTopK, Activation::kBatchTopK}) {
    model::Dictionary dictionary = make_lorsa(activation, 10);
    const at::Tensor x = random_input(15);
    const at::Tensor score = dictionary.pre_activations(x).clamp_min(0) * dictionary.output_norms();
    dictionary.to_jumprelu(0.4);
    REQUIRE(dictionary.shape().activation == Activation::kJumpRelu);
    const kernels::TopK kept = dictionary.reconstruct(x).kept;
    REQUIRE((kept.value_PK != 0).sum().item<int64_t>() == (score > 0.4).sum().item<int64_t>());
    REQUIRE_THROWS_AS(dictionary.to_jumprelu(0.4), ConfigError);
  }
  model::Dictionary dictionary = make_lorsa(Activation::kTopK, 10);
  REQUIRE_THROWS_AS(dictionary.to_jumprelu(0.0), ConfigError);
}

TEST_CASE("shapes that contradict each other are refused with both values", "[model]") {
  model::DictionaryShape shape = test::small_shape(model::Activation::kTopK, false);
  shape.top_k = 13;
  REQUIRE_THROWS_WITH(model::validate(shape), Catch::Contains("13") && Catch::Contains("12"));
  shape = test::small_shape(model::Activation::kTopK, false);
  shape.num_qk_heads = 5;
  REQUIRE_THROWS_AS(model::validate(shape), ConfigError);
  shape = test::small_shape(model::Activation::kTopK, false);
  const model::Dictionary dictionary(shape, test::random_weights(shape));
  REQUIRE_THROWS_AS(dictionary.reconstruct(at::randn({1, 3, 8}, at::kDouble)), ShapeError);
  REQUIRE_THROWS_AS(dictionary.reconstruct(at::randn({1, 3, 7}, at::kFloat)), ShapeError);
}

TEST_CASE("an SAE's z-patterns lie at the position itself and sum to z", "[model]") {
  at::manual_seed(12);
  const model::DictionaryShape shape = test::small_sae(model::Activation::kTopK);
  const model::Dictionary sae(shape, test::random_weights(shape));
  const at::Tensor x = at::randn({2, 6, shape.d_model}, at::kDouble);
  const at::Tensor z = sae.pre_activations(x).view({2, 6, -1});
  const at::Tensor pattern = sae.z_patterns(x, {{0, 3, 5}, {1, 0, 11}});
  REQUIRE(relative_error(sae.z_patterns(sae.read(x), {{0, 3, 5}, {1, 0, 11}}), pattern) < 1e-12);
  REQUIRE(pattern.count_nonzero().item<int64_t>() == 2);
  REQUIRE(pattern[0][3].item<double>() == Approx(z[0][3][5].item<double>()).epsilon(1e-12));
  REQUIRE(pattern[1][0].item<double>() == Approx(z[1][0][11].item<double>()).epsilon(1e-12));
}

TEST_CASE("a folded SAE reads and writes raw activations", "[model]") {
  at::manual_seed(13);
  const model::DictionaryShape shape = test::small_sae(model::Activation::kJumpRelu);
  model::Dictionary sae(shape, test::random_weights(shape));
  const at::Tensor t = at::randn({2, 6, shape.d_model}, at::kDouble);
  const double scale = 3.7;
  const at::Tensor expected = sae.reconstruct(t * scale).y_BTD / scale;
  REQUIRE(expected.count_nonzero().item<int64_t>() > 0);
  sae.fold(scale, scale);
  REQUIRE(relative_error(sae.reconstruct(t).y_BTD, expected) < 1e-12);
}

TEST_CASE("an SAE with a trace of attention is refused", "[model]") {
  model::DictionaryShape shape = test::small_sae(model::Activation::kTopK);
  shape.num_qk_heads = 4;
  REQUIRE_THROWS_WITH(model::validate(shape), Catch::Contains("num_qk_heads = 4"));
}
