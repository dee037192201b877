#include "lorsa/kernels/mhsa.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lorsa/core/error.h"
#include "support/tensors.h"
#include "support/test.h"

using namespace lorsa;
using namespace lorsa::kernels;

namespace {

enum class Extras { kNone, kBiasesAndNorms };

Mhsa random_layer(int64_t N, int64_t M, int64_t D, int64_t A, Extras extras) {
  const auto options = at::TensorOptions().dtype(at::kDouble);
  Mhsa layer;
  layer.W_Q = at::randn({N, D, A}, options);
  layer.W_K = at::randn({M, D, A}, options);
  layer.W_V = at::randn({M, D, A}, options);
  layer.W_O = at::randn({N, A, D}, options);
  layer.attn_scale = 3.7;
  layer.rope.rotary_dim = A - A % 2 - 2;
  layer.rope.base = 30.0;
  if (extras == Extras::kBiasesAndNorms) {
    layer.b_Q = at::randn({N, A}, options);
    layer.b_K = at::randn({M, A}, options);
    layer.b_V = at::randn({M, A}, options);
    layer.b_O = at::randn({D}, options);
    layer.q_norm = at::rand({A}, options) + 0.5;
    layer.k_norm = at::rand({A}, options) + 0.5;
    layer.qk_norm_eps = 0.1;
  }
  return layer;
}

/// q or k of one head, [T, A], straight from the formula.
at::Tensor head_vectors(const Mhsa& layer,
                        const at::Tensor& x_TD,
                        const at::Tensor& W_DA,
                        const at::Tensor& bias,
                        const at::Tensor& gain) {
  at::Tensor q = at::mm(x_TD, W_DA);
  if (bias.defined()) {
    q = q + bias;
  }
  if (gain.defined()) {
    q = q / at::sqrt(q.square().mean(1, true) + layer.qk_norm_eps) * gain;
  }
  const RopeTable table = rope_table(layer.rope, x_TD.size(0), at::kDouble, at::kCPU);
  const int64_t half = layer.rope.rotary_dim / 2;
  const at::Tensor a = q.narrow(1, 0, half);
  const at::Tensor b = q.narrow(1, half, half);
  const at::Tensor rest = q.narrow(1, 2 * half, q.size(1) - 2 * half);
  return at::cat({a * table.cos - b * table.sin, b * table.cos + a * table.sin, rest}, 1);
}

struct Naive {
  at::Tensor y_BTD;
  at::Tensor pattern_BNTT;
};

/// One head, one query, one key at a time.
Naive naive(const Mhsa& layer, const at::Tensor& x_BTD) {
  const int64_t B = x_BTD.size(0);
  const int64_t T = x_BTD.size(1);
  const int64_t group = layer.num_heads() / layer.num_kv_heads();
  Naive result{at::zeros_like(x_BTD), at::zeros({B, layer.num_heads(), T, T}, at::kDouble)};
  const auto row = [](const at::Tensor& t, int64_t i) { return t.defined() ? t[i] : at::Tensor(); };
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t n = 0; n < layer.num_heads(); ++n) {
      const int64_t m = n / group;
      const at::Tensor q =
          head_vectors(layer, x_BTD[b], layer.W_Q[n], row(layer.b_Q, n), layer.q_norm);
      const at::Tensor k =
          head_vectors(layer, x_BTD[b], layer.W_K[m], row(layer.b_K, m), layer.k_norm);
      at::Tensor v = at::mm(x_BTD[b], layer.W_V[m]);
      if (layer.b_V.defined()) {
        v = v + layer.b_V[m];
      }
      for (int64_t t = 0; t < T; ++t) {
        const at::Tensor score = at::mv(k.narrow(0, 0, t + 1), q[t]) / layer.attn_scale;
        const at::Tensor weight = at::exp(score - score.max());
        const at::Tensor pattern = weight / weight.sum();
        result.pattern_BNTT[b][n][t].narrow(0, 0, t + 1).copy_(pattern);
        const at::Tensor z = at::mv(v.narrow(0, 0, t + 1).t(), pattern);
        result.y_BTD[b][t].add_(at::mv(layer.W_O[n].t(), z));
      }
    }
    if (layer.b_O.defined()) {
      result.y_BTD[b].add_(layer.b_O);
    }
  }
  return result;
}

}  // namespace

TEST_CASE("mhsa_forward and mhsa_patterns equal a loop over heads, queries and keys", "[kernels]") {
  at::manual_seed(4);
  for (const auto extras : {Extras::kNone, Extras::kBiasesAndNorms}) {
    for (const auto& [N, M] : {std::pair{6, 2}, std::pair{3, 3}, std::pair{4, 1}}) {
      const Mhsa layer = random_layer(N, M, 13, 7, extras);
      const at::Tensor x = at::randn({2, 9, 13}, at::kDouble);
      const Naive expected = naive(layer, x);
      CAPTURE(N, M);
      CHECK(test::relative_error(mhsa_forward(layer, x), expected.y_BTD) <= 1e-12);
      CHECK(test::relative_error(mhsa_patterns(layer, x), expected.pattern_BNTT) <= 1e-12);
      const Mhsa single = layer.to(at::kCPU, at::kFloat);
      CHECK(test::relative_error(mhsa_forward(single, x.to(at::kFloat)), expected.y_BTD) <= 1e-5);
    }
  }
}

TEST_CASE("mhsa_forward is causal and takes one position", "[kernels]") {
  at::manual_seed(5);
  const Mhsa layer = random_layer(6, 2, 12, 8, Extras::kBiasesAndNorms);
  const at::Tensor x = at::randn({1, 6, 12}, at::kDouble);
  const at::Tensor y = mhsa_forward(layer, x);
  at::Tensor changed = x.clone();
  changed.select(1, 4).add_(1.0);
  const at::Tensor z = mhsa_forward(layer, changed);
  CHECK(test::relative_error(z.narrow(1, 0, 4), y.narrow(1, 0, 4)) == 0.0);
  CHECK(test::relative_error(z.narrow(1, 4, 2), y.narrow(1, 4, 2)) > 1e-3);
  CHECK(test::relative_error(mhsa_forward(layer, x.narrow(1, 0, 1)), y.narrow(1, 0, 1)) <= 1e-12);
}

TEST_CASE("mhsa_forward reads a non-contiguous input", "[kernels]") {
  at::manual_seed(6);
  const Mhsa layer = random_layer(2, 1, 6, 4, Extras::kNone);
  const at::Tensor x = at::randn({6, 5, 2}, at::kDouble).permute({2, 1, 0});
  CHECK(test::relative_error(mhsa_forward(layer, x), mhsa_forward(layer, x.contiguous())) <= 1e-14);
}

TEST_CASE("mhsa_forward refuses tensors that do not fit", "[kernels]") {
  const Mhsa layer = random_layer(6, 2, 12, 8, Extras::kNone);
  const auto f64 = at::kDouble;
  CHECK_THROWS_AS(mhsa_forward(layer, at::zeros({1, 3, 11}, f64)), ShapeError);
  CHECK_THROWS_AS(mhsa_forward(layer, at::zeros({3, 12}, f64)), ShapeError);
  CHECK_THROWS_AS(mhsa_forward(layer, at::zeros({1, 3, 12}, at::kFloat)), ShapeError);
  Mhsa wrong = layer;
  wrong.W_V = at::zeros({2, 12, 7}, f64);
  CHECK_THROWS_WITH(mhsa_forward(wrong, at::zeros({1, 3, 12}, f64)), Catch::Contains("W_V"));
  wrong = layer;
  wrong.W_K = at::zeros({4, 12, 8}, f64);
  CHECK_THROWS_WITH(mhsa_forward(wrong, at::zeros({1, 3, 12}, f64)), Catch::Contains("multiple"));
  wrong = layer;
  wrong.W_O = at::Tensor();
  CHECK_THROWS_AS(mhsa_patterns(wrong, at::zeros({1, 3, 12}, f64)), ShapeError);
}
