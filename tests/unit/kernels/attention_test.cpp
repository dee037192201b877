#include "lorsa/kernels/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "kernels/device_attention.h"
#include "lorsa/core/error.h"
#include "support/tensors.h"
#include "support/test.h"

using namespace lorsa;
using test::relative_error;

namespace {

struct Case {
  int64_t B, T, S, E, G, K;
};

// One position; tile edges of the 128-query blocks; more keys than a block; G = 1; widths that are
// no power of two.
const std::vector<Case> kCases = {{1, 1, 1, 4, 1, 1},    {2, 5, 3, 6, 2, 2},
                                  {1, 127, 2, 8, 3, 2},  {1, 128, 2, 8, 3, 2},
                                  {2, 129, 2, 16, 4, 3}, {1, 300, 3, 10, 5, 4}};

at::Tensor pattern(const at::Tensor& q, const at::Tensor& k, double attn_scale) {
  const int64_t T = q.size(1);
  const at::Tensor scores = at::einsum("bise,bjse->bsij", {q, k}) / attn_scale;
  const at::Tensor future = at::ones({T, T}, at::kBool).triu(1);
  return at::softmax(scores.masked_fill(future, -std::numeric_limits<double>::infinity()), -1);
}

at::Tensor naive(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double attn_scale) {
  return at::einsum("bsij,bjsg->bisg", {pattern(q, k, attn_scale), v})
      .reshape({q.size(0) * q.size(1), -1});
}

struct Inputs {
  at::Tensor q, k, v, grad_PK, head_PK;
};

Inputs make(const Case& c, at::ScalarType dtype) {
  at::manual_seed(7);
  Inputs in;
  in.q = at::randn({c.B, c.T, c.S, c.E}, dtype);
  in.k = at::randn({c.B, c.T, c.S, c.E}, dtype);
  in.v = at::randn({c.B, c.T, c.S, c.G}, dtype);
  const int64_t P = c.B * c.T;
  in.head_PK = at::rand({P, c.S * c.G})
                   .argsort(/*dim=*/int64_t{1})
                   .narrow(1, 0, c.K)
                   .to(at::kInt)
                   .contiguous();
  in.grad_PK = at::randn({P, c.K}, dtype);
  in.grad_PK.masked_fill_(at::rand({P, c.K}) < 0.3, 0.0);
  return in;
}

}  // namespace

TEST_CASE("attention_forward equals the formula in double", "[kernels]") {
  for (const Case& c : kCases) {
    const Inputs in = make(c, at::kDouble);
    const kernels::AttentionResult result = kernels::attention_forward(in.q, in.k, in.v, 1.7);
    INFO("T " << c.T << " G " << c.G);
    REQUIRE(relative_error(result.z_PH, naive(in.q, in.k, in.v, 1.7)) < 1e-12);
    const at::Tensor scores = at::einsum("bise,bjse->bsij", {in.q, in.k}) / 1.7;
    const at::Tensor future = at::ones({c.T, c.T}, at::kBool).triu(1);
    const at::Tensor lse =
        at::logsumexp(scores.masked_fill(future, -std::numeric_limits<double>::infinity()), -1);
    REQUIRE((result.lse_BST - lse).abs().max().item<double>() < 1e-12);
  }
}

TEST_CASE("attention_backward equals autograd of the formula in double", "[kernels]") {
  for (const Case& c : kCases) {
    const Inputs in = make(c, at::kDouble);
    const kernels::AttentionResult result = kernels::attention_forward(in.q, in.k, in.v, 1.7);
    const kernels::AttentionGradients ours =
        kernels::attention_backward(in.q, in.k, in.v, result, in.grad_PK, in.head_PK, 1.7);
    const at::Tensor q = in.q.clone().requires_grad_(true);
    const at::Tensor k = in.k.clone().requires_grad_(true);
    const at::Tensor v = in.v.clone().requires_grad_(true);
    const at::Tensor d_z = at::zeros({c.B * c.T, c.S * c.G}, at::kDouble)
                               .scatter(1, in.head_PK.to(at::kLong), in.grad_PK);
    (naive(q, k, v, 1.7) * d_z).sum().backward();
    INFO("T " << c.T << " G " << c.G);
    // With one position the softmax is constant: gradients of q and k are exactly 0 on both sides.
    if (c.T > 1) {
      REQUIRE(relative_error(ours.grad_q_BTSE, q.grad()) < 1e-11);
      REQUIRE(relative_error(ours.grad_k_BTSE, k.grad()) < 1e-11);
    } else {
      REQUIRE(ours.grad_q_BTSE.abs().max().item<double>() < 1e-15);
    }
    REQUIRE(relative_error(ours.grad_v_BTSG, v.grad()) < 1e-11);
  }
}

TEST_CASE("attention in float32 stays close to double and does not depend on the thread count",
          "[kernels]") {
  for (const Case& c : kCases) {
    const Inputs in = make(c, at::kFloat);
    const auto run = [&](int threads) {
      const int before = at::get_num_threads();
      at::set_num_threads(threads);
      const auto forward = kernels::attention_forward(in.q, in.k, in.v, 1.7);
      const auto backward =
          kernels::attention_backward(in.q, in.k, in.v, forward, in.grad_PK, in.head_PK, 1.7);
      at::set_num_threads(before);
      return std::pair(forward, backward);
    };
    const auto [forward, backward] = run(2);
    const auto [forward1, backward1] = run(1);
    const auto d = [](const at::Tensor& x) { return x.to(at::kDouble); };
    const auto exact = kernels::attention_forward(d(in.q), d(in.k), d(in.v), 1.7);
    const auto exact_back = kernels::attention_backward(d(in.q), d(in.k), d(in.v), exact,
                                                        d(in.grad_PK), in.head_PK, 1.7);
    INFO("T " << c.T);
    REQUIRE(relative_error(forward.z_PH, exact.z_PH) < 2e-6);
    REQUIRE(relative_error(backward.grad_v_BTSG, exact_back.grad_v_BTSG) < 5e-6);
    if (c.T > 1) {
      REQUIRE(relative_error(backward.grad_q_BTSE, exact_back.grad_q_BTSE) < 1e-5);
      REQUIRE(relative_error(backward.grad_k_BTSE, exact_back.grad_k_BTSE) < 1e-5);
    }
    REQUIRE(relative_error(forward1.z_PH, forward.z_PH) < 1e-6);
    REQUIRE(relative_error(backward1.grad_v_BTSG, backward.grad_v_BTSG) < 1e-6);
  }
}

TEST_CASE("query rows and QK heads without a kept head get gradient exactly zero", "[kernels]") {
  const Case c{1, 20, 3, 8, 4, 1};
  Inputs in = make(c, at::kFloat);
  in.head_PK.fill_(5);  // QK head 1 alone
  in.grad_PK.fill_(1.0);
  in.grad_PK[7][0] = 0.0;
  const auto forward = kernels::attention_forward(in.q, in.k, in.v, 1.0);
  const auto g =
      kernels::attention_backward(in.q, in.k, in.v, forward, in.grad_PK, in.head_PK, 1.0);
  for (const int64_t s : {0, 2}) {
    REQUIRE(g.grad_q_BTSE.select(2, s).count_nonzero().item<int64_t>() == 0);
    REQUIRE(g.grad_k_BTSE.select(2, s).count_nonzero().item<int64_t>() == 0);
    REQUIRE(g.grad_v_BTSG.select(2, s).count_nonzero().item<int64_t>() == 0);
  }
  REQUIRE(g.grad_q_BTSE[0][7][1].count_nonzero().item<int64_t>() == 0);
  REQUIRE(g.grad_q_BTSE[0][8][1].count_nonzero().item<int64_t>() > 0);
  REQUIRE(g.grad_v_BTSG.select(2, 1).select(2, 0).count_nonzero().item<int64_t>() == 0);
}

TEST_CASE("attention_backward_dense equals autograd of the formula in double", "[kernels]") {
  for (const Case& c : kCases) {
    const Inputs in = make(c, at::kDouble);
    at::Tensor d_z = at::randn({c.B * c.T, c.S * c.G}, at::kDouble);
    if (c.T > 1) {
      d_z.select(0, 1).zero_();
    }
    const auto result = kernels::attention_forward(in.q, in.k, in.v, 1.7);
    const auto ours = kernels::attention_backward_dense(in.q, in.k, in.v, result, d_z, 1.7);
    const at::Tensor q = in.q.clone().requires_grad_(true);
    const at::Tensor k = in.k.clone().requires_grad_(true);
    const at::Tensor v = in.v.clone().requires_grad_(true);
    (naive(q, k, v, 1.7) * d_z).sum().backward();
    INFO("T " << c.T << " G " << c.G);
    if (c.T > 1) {
      REQUIRE(relative_error(ours.grad_q_BTSE, q.grad()) < 1e-11);
      REQUIRE(relative_error(ours.grad_k_BTSE, k.grad()) < 1e-11);
    } else {
      REQUIRE(ours.grad_q_BTSE.abs().max().item<double>() < 1e-15);
    }
    REQUIRE(relative_error(ours.grad_v_BTSG, v.grad()) < 1e-11);
  }
}

TEST_CASE("attention_backward_dense of a scattered gradient equals attention_backward",
          "[kernels]") {
  for (const Case& c : kCases) {
    const Inputs in = make(c, at::kFloat);
    const auto forward = kernels::attention_forward(in.q, in.k, in.v, 1.7);
    const at::Tensor d_z =
        at::zeros({c.B * c.T, c.S * c.G}).scatter(1, in.head_PK.to(at::kLong), in.grad_PK);
    const auto kept =
        kernels::attention_backward(in.q, in.k, in.v, forward, in.grad_PK, in.head_PK, 1.7);
    const auto dense = kernels::attention_backward_dense(in.q, in.k, in.v, forward, d_z, 1.7);
    INFO("T " << c.T << " G " << c.G);
    if (c.T > 1) {
      REQUIRE(relative_error(dense.grad_q_BTSE, kept.grad_q_BTSE) < 1e-5);
      REQUIRE(relative_error(dense.grad_k_BTSE, kept.grad_k_BTSE) < 1e-5);
    }
    REQUIRE(relative_error(dense.grad_v_BTSG, kept.grad_v_BTSG) < 1e-5);
    // Position 0 has one key: its gradient is 0 up to rounding on both sides.
    const auto zero_rows = [](const at::Tensor& grad_BTSE) {
      return grad_BTSE.slice(1, 1).eq(0).all(-1);
    };
    REQUIRE(at::equal(zero_rows(dense.grad_q_BTSE), zero_rows(kept.grad_q_BTSE)));
  }
}

TEST_CASE("both attention backward passes can leave out queries and keys", "[kernels]") {
  const Inputs in = make({2, 129, 2, 16, 4, 3}, at::kFloat);
  const auto forward = kernels::attention_forward(in.q, in.k, in.v, 1.7);
  const at::Tensor d_z = at::zeros({258, 8}).scatter(1, in.head_PK.to(at::kLong), in.grad_PK);
  const auto kept = [&](kernels::GradientsOf which) {
    return kernels::attention_backward(in.q, in.k, in.v, forward, in.grad_PK, in.head_PK, 1.7,
                                       {which});
  };
  const auto dense = [&](kernels::GradientsOf which) {
    return kernels::attention_backward_dense(in.q, in.k, in.v, forward, d_z, 1.7, {which});
  };
  using enum kernels::GradientsOf;
  REQUIRE(at::equal(kept(kValues).grad_v_BTSG, kept(kAll).grad_v_BTSG));
  REQUIRE(at::equal(dense(kValues).grad_v_BTSG, dense(kAll).grad_v_BTSG));
  for (const auto& g : {kept(kValues), dense(kValues)}) {
    REQUIRE_FALSE(g.grad_q_BTSE.defined());
    REQUIRE_FALSE(g.grad_k_BTSE.defined());
  }
}

TEST_CASE("attention and its backward passes have the same bits for every thread count",
          "[kernels]") {
  const Inputs in = make({1, 300, 3, 10, 5, 4}, at::kFloat);
  const at::Tensor d_z = at::randn({300, 15});
  const int before = at::get_num_threads();
  const auto run = [&](int threads) {
    at::set_num_threads(threads);
    const auto forward = kernels::attention_forward(in.q, in.k, in.v, 1.7);
    const auto kept =
        kernels::attention_backward(in.q, in.k, in.v, forward, in.grad_PK, in.head_PK, 1.7);
    const auto dense = kernels::attention_backward_dense(in.q, in.k, in.v, forward, d_z, 1.7);
    return std::vector{forward.z_PH,     forward.lse_BST,   kept.grad_q_BTSE,  kept.grad_k_BTSE,
                       kept.grad_v_BTSG, dense.grad_q_BTSE, dense.grad_k_BTSE, dense.grad_v_BTSG};
  };
  const auto one = run(1);
  for (const int threads : {2, 5}) {
    const auto several = run(threads);
    for (size_t i = 0; i < one.size(); ++i) {
      INFO("tensor " << i << " with " << threads << " threads");
      REQUIRE(at::equal(several[i], one[i]));
    }
  }
  at::set_num_threads(before);
}

TEST_CASE("attention of bfloat16 tensors on the CPU is that of their values, rounded",
          "[kernels]") {
  const Inputs in = make({2, 129, 2, 16, 4, 3}, at::kBFloat16);
  const auto f = [](const at::Tensor& x) { return x.to(at::kFloat); };
  const auto low = [](const at::Tensor& x) { return x.to(at::kBFloat16); };
  const auto forward = kernels::attention_forward(in.q, in.k, in.v, 1.7);
  const auto exact = kernels::attention_forward(f(in.q), f(in.k), f(in.v), 1.7);
  REQUIRE(at::equal(forward.z_PH, low(exact.z_PH)));
  REQUIRE(at::equal(forward.lse_BST, exact.lse_BST));
  const kernels::AttentionResult read{f(forward.z_PH), exact.lse_BST, {}};
  const at::Tensor d_z =
      at::zeros({258, 8}, at::kBFloat16).scatter(1, in.head_PK.to(at::kLong), in.grad_PK);
  const std::vector<std::pair<kernels::AttentionGradients, kernels::AttentionGradients>> passes = {
      {kernels::attention_backward(in.q, in.k, in.v, forward, in.grad_PK, in.head_PK, 1.7),
       kernels::attention_backward(f(in.q), f(in.k), f(in.v), read, f(in.grad_PK), in.head_PK,
                                   1.7)},
      {kernels::attention_backward_dense(in.q, in.k, in.v, forward, d_z, 1.7),
       kernels::attention_backward_dense(f(in.q), f(in.k), f(in.v), read, f(d_z), 1.7)}};
  for (const auto& [ours, theirs] : passes) {
    REQUIRE(at::equal(ours.grad_q_BTSE, low(theirs.grad_q_BTSE)));
    REQUIRE(at::equal(ours.grad_k_BTSE, low(theirs.grad_k_BTSE)));
    REQUIRE(at::equal(ours.grad_v_BTSG, low(theirs.grad_v_BTSG)));
  }
}

TEST_CASE("the formula for other devices agrees with the CPU's kernels", "[kernels]") {
  for (const Case& c : kCases) {
    const Inputs in = make(c, at::kFloat);
    const at::Tensor d_z = at::randn({c.B * c.T, c.S * c.G});
    const auto forward = kernels::attention_forward(in.q, in.k, in.v, 1.7);
    const auto formula = kernels::device_attention_forward(in.q, in.k, in.v, 1.7);
    INFO("T " << c.T << " G " << c.G);
    REQUIRE(relative_error(formula.z_PH, forward.z_PH) < 1e-5);
    REQUIRE(relative_error(formula.lse_BST, forward.lse_BST) < 1e-5);
    const auto ours = kernels::attention_backward_dense(in.q, in.k, in.v, forward, d_z, 1.7);
    const auto theirs = kernels::device_attention_backward(in.q, in.k, in.v, formula, d_z, 1.7,
                                                           kernels::GradientsOf::kAll);
    REQUIRE(theirs.grad_q_BTSE.is_contiguous());
    if (c.T > 1) {
      REQUIRE(relative_error(theirs.grad_q_BTSE, ours.grad_q_BTSE) < 1e-4);
      REQUIRE(relative_error(theirs.grad_k_BTSE, ours.grad_k_BTSE) < 1e-4);
    }
    REQUIRE(relative_error(theirs.grad_v_BTSG, ours.grad_v_BTSG) < 1e-5);
  }
}

TEST_CASE("attention refuses shapes and dtypes that do not fit", "[kernels]") {
  const Inputs in = make({2, 5, 3, 6, 2, 2}, at::kFloat);
  REQUIRE_THROWS_AS(kernels::attention_forward(in.q, in.k.narrow(1, 0, 4), in.v, 1.0), ShapeError);
  REQUIRE_THROWS_AS(kernels::attention_forward(in.q, in.k, in.v.to(at::kDouble), 1.0), ShapeError);
  const auto forward = kernels::attention_forward(in.q, in.k, in.v, 1.0);
  REQUIRE_THROWS_AS(kernels::attention_backward(in.q, in.k, in.v, forward,
                                                in.grad_PK.narrow(0, 0, 3), in.head_PK, 1.0),
                    ShapeError);
  REQUIRE_THROWS_AS(
      kernels::attention_backward_dense(in.q, in.k, in.v, forward, at::zeros({10, 5}), 1.0),
      ShapeError);
}

TEST_CASE(
    "attention_backward turns gradients back through RoPE, both layouts, with and without rest",
    "[kernels]") {
  for (const kernels::RopeLayout layout :
       {kernels::RopeLayout::kHalfSplit, kernels::RopeLayout::kAdjacentPairs}) {
    for (const int64_t rotary : {4, 8}) {
      const Case c{2, 37, 3, 8, 4, 2};
      const Inputs in = make(c, at::kFloat);
      const auto forward = kernels::attention_forward(in.q, in.k, in.v, 1.7);
      kernels::AttentionBackwardOptions options;
      options.rope.rotary_dim = rotary;
      options.rope.layout = layout;
      options.rope_table = kernels::rope_table(options.rope, c.T, at::kFloat, at::kCPU);
      auto plain =
          kernels::attention_backward(in.q, in.k, in.v, forward, in.grad_PK, in.head_PK, 1.7);
      const auto turned = kernels::attention_backward(in.q, in.k, in.v, forward, in.grad_PK,
                                                      in.head_PK, 1.7, options);
      for (at::Tensor* grad : {&plain.grad_q_BTSE, &plain.grad_k_BTSE}) {
        kernels::apply_rope_(*grad, options.rope, options.rope_table,
                             kernels::RopeDirection::kInverse);
      }
      REQUIRE(relative_error(turned.grad_q_BTSE, plain.grad_q_BTSE) < 1e-6);
      REQUIRE(relative_error(turned.grad_k_BTSE, plain.grad_k_BTSE) < 1e-6);
      REQUIRE(at::equal(turned.grad_v_BTSG, plain.grad_v_BTSG));
    }
  }
}
