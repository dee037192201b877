#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <random>

#include "kernels/product.h"
#include "lorsa/kernels/attention.h"
#include "lorsa/kernels/rope.h"
#include "support/tensors.h"
#include "support/test.h"

using namespace lorsa;
using kernels::PositionRun;
using kernels::PositionRuns;
using test::relative_error;

namespace {

at::Tensor wide(const at::Tensor& x) {
  return x.to(at::kDouble);
}

/// Runs of `groups` groups over P positions: group 0 has none, group 1 all, the others each
/// position with the probability of their number.
PositionRuns random_runs(int64_t groups, int64_t P) {
  std::mt19937 random(3);
  PositionRuns runs;
  runs.offset = {0, 0};
  runs.run.push_back({0, P});
  runs.offset.push_back(1);
  for (int64_t g = 2; g < groups; ++g) {
    std::bernoulli_distribution acts(static_cast<double>(g - 1) / static_cast<double>(groups));
    for (int64_t p = 0; p < P; ++p) {
      if (!acts(random)) {
        continue;
      }
      if (std::ssize(runs.run) > runs.offset.back() && runs.run.back().end == p) {
        runs.run.back().end = p + 1;
      } else {
        runs.run.push_back({p, p + 1});
      }
    }
    runs.offset.push_back(std::ssize(runs.run));
  }
  return runs;
}

/// A gradient [P, groups, width] that is random in its runs.
at::Tensor gradient_in_runs(const PositionRuns& runs, int64_t P, int64_t width, double elsewhere) {
  const int64_t groups = std::ssize(runs.offset) - 1;
  at::Tensor grad = at::full({P, groups, width}, elsewhere);
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t i = runs.offset[static_cast<size_t>(g)];
         i < runs.offset[static_cast<size_t>(g) + 1]; ++i) {
      const PositionRun run = runs.run[static_cast<size_t>(i)];
      grad.select(1, g).slice(0, run.begin, run.end).normal_();
    }
  }
  return grad;
}

struct LengthCase {
  int64_t B, T, N, K;
  double acting;
};

// Edges of the blocks of 256 columns, 256 and 64 positions; of sequences; none and all that act.
const std::vector<LengthCase> kLengthCases = {
    {1, 64, 1, 1, 1.0},     {3, 50, 70, 65, 0.5},   {4, 256, 300, 130, 0.3}, {2, 300, 257, 64, 0.1},
    {1, 521, 255, 7, 0.05}, {2, 65, 512, 100, 0.0}, {2, 128, 256, 64, 1.0}};

std::vector<int32_t> random_lengths(const LengthCase& c) {
  std::mt19937 random(4);
  std::bernoulli_distribution acts(c.acting);
  std::uniform_int_distribution<int32_t> length(1, static_cast<int32_t>(c.T));
  std::vector<int32_t> lengths(static_cast<size_t>(c.B * c.N));
  for (int32_t& entry : lengths) {
    entry = acts(random) ? length(random) : 0;
  }
  return lengths;
}

/// [P, N] with contiguous columns, 0 past its lengths.
at::Tensor gradient_of_lengths(const LengthCase& c, const std::vector<int32_t>& lengths) {
  const at::Tensor length_BN = at::tensor(lengths).view({c.B, c.N, 1});
  const at::Tensor grad = at::randn({c.B, c.N, c.T}) * (at::arange(c.T) < length_BN);
  return grad.transpose(0, 1).contiguous().view({c.N, c.B * c.T}).t();
}

constexpr double kSumTolerance = 2e-6;

}  // namespace

TEST_CASE("product_tn of runs multiplies what lies in them and nothing else", "[kernels]") {
  struct Case {
    int64_t P, groups, width, K;
  };

  for (const Case& c : {Case{64, 3, 1, 1}, Case{70, 4, 5, 3}, Case{257, 6, 64, 65},
                        Case{600, 5, 16, 130}, Case{1024, 9, 33, 64}}) {
    INFO("P " << c.P << " groups " << c.groups << " width " << c.width << " K " << c.K);
    at::manual_seed(1);
    const PositionRuns runs = random_runs(c.groups, c.P);
    const at::Tensor x = at::randn({c.P, c.K});
    const at::Tensor grad = gradient_in_runs(runs, c.P, c.width, 0.0);
    const kernels::LinearGradients found = kernels::product_tn_heads(grad, x, &runs);
    const at::Tensor grad_PN = wide(grad).flatten(1);
    const at::Tensor expected = at::mm(grad_PN.t(), wide(x));
    REQUIRE(relative_error(found.weight_NK, expected) < kSumTolerance);
    REQUIRE(relative_error(found.bias_N, grad_PN.sum(0)) < kSumTolerance);
    // Heads behind one another give the same bits, with runs and without.
    const at::Tensor by_head = grad.transpose(0, 1).contiguous().transpose(0, 1);
    const at::Tensor by_column = grad.permute({1, 2, 0}).contiguous().permute({2, 0, 1});
    REQUIRE(at::equal(kernels::product_tn_heads(by_column, x, &runs).weight_NK, found.weight_NK));
    REQUIRE(at::equal(kernels::product_tn_heads(by_head, x, &runs).weight_NK, found.weight_NK));
    REQUIRE(relative_error(kernels::product_tn_heads(by_head, x).weight_NK, expected) <
            kSumTolerance);
    REQUIRE(relative_error(kernels::product_tn_heads(grad, x).weight_NK, expected) < kSumTolerance);
    REQUIRE(found.weight_NK.narrow(0, 0, c.width).count_nonzero().item<int64_t>() == 0);
    REQUIRE(found.bias_N.narrow(0, 0, c.width).count_nonzero().item<int64_t>() == 0);
  }
}

TEST_CASE("product_tn of runs leaves alone what lies outside of them", "[kernels]") {
  at::manual_seed(2);
  PositionRuns runs;
  runs.offset = {0, 3, 3, 4};
  runs.run = {{1, 2}, {40, 75}, {299, 300}, {100, 228}};
  const at::Tensor x = at::randn({300, 70});
  const at::Tensor grad = gradient_in_runs(runs, 300, 24, std::nan(""));
  const kernels::LinearGradients found = kernels::product_tn_heads(grad, x, &runs);
  const at::Tensor zeroed = at::nan_to_num(grad, 0.0).flatten(1);
  REQUIRE(relative_error(found.weight_NK, at::mm(wide(zeroed).t(), wide(x))) < kSumTolerance);
  REQUIRE(relative_error(found.bias_N, wide(zeroed).sum(0)) < kSumTolerance);
}

TEST_CASE("product_tn of lengths equals the product in double", "[kernels]") {
  for (const LengthCase& c : kLengthCases) {
    INFO("B " << c.B << " T " << c.T << " N " << c.N << " K " << c.K << " acting " << c.acting);
    at::manual_seed(3);
    const std::vector<int32_t> lengths = random_lengths(c);
    const at::Tensor x = at::randn({c.B * c.T, c.K});
    const at::Tensor grad = gradient_of_lengths(c, lengths);
    const at::Tensor expected = at::mm(wide(grad).t(), wide(x));
    const kernels::LinearGradients found = kernels::product_tn(grad, x, lengths);
    REQUIRE((found.weight_NK - expected).abs().max().item<double>() <=
            kSumTolerance * std::max(1.0, expected.abs().max().item<double>()));
    REQUIRE((found.bias_N - wide(grad).sum(0)).abs().max().item<double>() < 1e-4);
    const kernels::LinearGradients rows = kernels::product_tn(grad.contiguous(), x, lengths);
    REQUIRE((rows.weight_NK - expected).abs().max().item<double>() <=
            kSumTolerance * std::max(1.0, expected.abs().max().item<double>()));
    const at::Tensor silent = at::tensor(lengths).view({c.B, c.N}).sum(0).eq(0);
    REQUIRE(found.weight_NK.index({silent}).count_nonzero().item<int64_t>() == 0);
  }
}

TEST_CASE("products that follow the support have the same bits for every thread count",
          "[kernels]") {
  at::manual_seed(4);
  const LengthCase c{3, 100, 600, 130, 0.3};
  const std::vector<int32_t> lengths = random_lengths(c);
  const at::Tensor x = at::randn({300, c.K});
  const at::Tensor columns = gradient_of_lengths(c, lengths);
  const PositionRuns runs = random_runs(7, 300);
  const at::Tensor rows = gradient_in_runs(runs, 300, 40, 0.0);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const kernels::LinearGradients a = kernels::product_tn_heads(rows, x, &runs);
  const kernels::LinearGradients b = kernels::product_tn(columns, x, lengths);
  for (const int threads : {2, 3}) {
    at::set_num_threads(threads);
    REQUIRE(at::equal(kernels::product_tn_heads(rows, x, &runs).weight_NK, a.weight_NK));
    REQUIRE(at::equal(kernels::product_tn_heads(rows, x, &runs).bias_N, a.bias_N));
    REQUIRE(at::equal(kernels::product_tn(columns, x, lengths).weight_NK, b.weight_NK));
    REQUIRE(at::equal(kernels::product_tn(columns, x, lengths).bias_N, b.bias_N));
  }
  at::set_num_threads(before);
}

TEST_CASE("attention_backward says where its gradients can be, and they are nowhere else",
          "[kernels]") {
  at::manual_seed(5);
  const int64_t B = 3, T = 20, S = 4, E = 8, G = 5, K = 2;
  const at::Tensor q = at::randn({B, T, S, E}), k = at::randn({B, T, S, E}),
                   v = at::randn({B, T, S, G});
  const kernels::AttentionResult result = kernels::attention_forward(q, k, v, 2.0);
  // QK head 3 is never kept, QK head 2 in the last sequence alone.
  at::Tensor head_PK = at::randint(0, 2 * G, {B * T, K}).to(at::kInt);
  head_PK[50][1] = 2 * G + 3;
  at::Tensor grad_PK = at::randn({B * T, K});
  grad_PK.slice(0, 10, 30).zero_();
  const kernels::AttentionGradients d =
      kernels::attention_backward(q, k, v, result, grad_PK, head_PK, 2.0);
  REQUIRE(d.support.has_value());
  const auto mask_of = [&](const PositionRuns& runs) {
    at::Tensor mask_PS = at::zeros({B * T, S}, at::kBool);
    for (int64_t s = 0; s < S; ++s) {
      int64_t end = 0;
      for (int64_t i = runs.offset[static_cast<size_t>(s)];
           i < runs.offset[static_cast<size_t>(s) + 1]; ++i) {
        const PositionRun run = runs.run[static_cast<size_t>(i)];
        REQUIRE(run.begin >= end);
        REQUIRE(run.end > run.begin);
        end = run.end;
        mask_PS.select(1, s).slice(0, run.begin, run.end).fill_(true);
      }
    }
    return mask_PS;
  };
  const at::Tensor acts_q = d.grad_q_BTSE.abs().sum(-1).view({B * T, S}) > 0;
  const at::Tensor acts_k = d.grad_k_BTSE.abs().sum(-1).view({B * T, S}) > 0;
  // A query at a sequence's first position has one key, and so no gradient.
  at::Tensor mask_q = mask_of(d.support->q);
  REQUIRE((acts_q.logical_and(mask_q.logical_not())).count_nonzero().item<int64_t>() == 0);
  mask_q.view({B, T, S}).select(1, 0).zero_();
  REQUIRE(at::equal(acts_q, mask_q));
  REQUIRE(
      (acts_k.logical_and(mask_of(d.support->k).logical_not())).count_nonzero().item<int64_t>() ==
      0);
  REQUIRE(mask_of(d.support->k).select(1, 3).count_nonzero().item<int64_t>() == 0);
  REQUIRE(mask_of(d.support->k).select(1, 2).count_nonzero().item<int64_t>() == 11);
  const at::Tensor length_BH = at::tensor(d.support->v_length_BH).view({B, 1, S * G});
  const at::Tensor within = at::arange(T).view({1, T, 1}) < length_BH;
  const at::Tensor acts_v = d.grad_v_BTSG.reshape({B, T, S * G}).ne(0);
  REQUIRE(at::equal(acts_v, within));
}

TEST_CASE(
    "product_nt_heads equals product_nt, heads behind one another where they have whole blocks",
    "[kernels]") {
  for (const int64_t width : {16, 64, 128}) {
    at::manual_seed(6);
    const at::Tensor x = at::randn({100, 70});
    const at::Tensor weight = at::randn({3 * width, 70});
    const at::Tensor bias = at::randn({3 * width});
    const at::Tensor heads = kernels::product_nt_heads(x, weight, bias, width);
    REQUIRE(at::equal(heads.reshape({100, -1}), kernels::product_nt(x, weight, bias)));
    REQUIRE(heads.stride(0) == (width % 64 == 0 ? width : 3 * width));
  }
}

TEST_CASE("product_nt_rotated equals product_nt_heads and apply_rope_", "[kernels]") {
  for (const int64_t width : {16, 64, 128}) {
    at::manual_seed(7);
    kernels::RopeSpec rope;
    rope.rotary_dim = width / 2;
    const kernels::RopeTable table = kernels::rope_table(rope, 50, at::kFloat, at::kCPU);
    const at::Tensor x = at::randn({150, 70});
    const at::Tensor weight = at::randn({3 * width, 70});
    const at::Tensor bias = at::randn({3 * width});
    at::Tensor expected =
        kernels::product_nt_heads(x, weight, bias, width).unflatten(0, {3, 50}).contiguous();
    kernels::apply_rope_(expected, rope, table, kernels::RopeDirection::kForward);
    const at::Tensor found = kernels::product_nt_rotated(x, weight, bias, 50, width, rope, table);
    REQUIRE(at::equal(found.unflatten(0, {3, 50}), expected));
  }
}
