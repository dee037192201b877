#include <ATen/ATen.h>

#include <cstring>
#include <limits>

#include "contract/samples.h"
#include "emulation/emulated_cuda.h"
#include "emulation/orders.h"
#include "kernels/cuda_backend.h"
#include "kernels/shapes.h"
#include "support/tensors.h"
#include "support/test.h"

// W_Q's gradient of CUDA in bfloat16, emulated: lists of query rows, the product of gathered rows.

using namespace lorsa;
using namespace lorsa::test;
using emulation::EmulatedCuda;
using kernels::LinearGradients;
using kernels::QueryRows;

namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() &&
         std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

/// Positions that `acts_PS` names, of every column.
QueryRows rows_of(const at::Tensor& acts_PS) {
  const int64_t P = acts_PS.size(0);
  const int64_t S = acts_PS.size(1);
  // What lies behind a list's end must not be read: no such position.
  QueryRows rows{at::full({S, P}, 1 << 29, at::kInt), acts_PS.sum(0).to(at::kInt)};
  for (int64_t s = 0; s < S; ++s) {
    const at::Tensor list = acts_PS.select(1, s).nonzero().view({-1}).to(at::kInt);
    rows.position_SP.select(0, s).narrow(0, 0, list.size(0)).copy_(list);
  }
  return rows;
}

void check_rows(const QueryRows& found, const QueryRows& expected) {
  REQUIRE(at::equal(found.count_S, expected.count_S));
  for (int64_t s = 0; s < expected.count_S.size(0); ++s) {
    const int64_t count = expected.count_S[s].item<int64_t>();
    REQUIRE(at::equal(found.position_SP.select(0, s).narrow(0, 0, count),
                      expected.position_SP.select(0, s).narrow(0, 0, count)));
  }
}

struct RowsCase {
  int64_t P, K, S, G;
};

QueryRows found_rows(const RowsCase& c, const at::Tensor& grad_PK, const at::Tensor& head_PK) {
  return emulation::in_orders(
      emulation::num_orders(),
      [&] {
        const EmulatedCuda device;
        return kernels::cuda_backend().query_rows(grad_PK, head_PK, c.S, c.G);
      },
      [](const QueryRows& a, const QueryRows& b) {
        // Past the lists' ends memory is as it was, all ones.
        return same_bits(a.count_S, b.count_S) && same_bits(a.position_SP, b.position_SP);
      });
}

/// Lists of these lengths of P positions, spread over them.
at::Tensor acts_of_lengths(const std::vector<int64_t>& lengths, int64_t P) {
  const auto S = std::ssize(lengths);
  at::Tensor acts_PS = at::zeros({P, S}, at::kBool);
  for (int64_t s = 0; s < S; ++s) {
    const at::Tensor order = at::randperm(P).narrow(0, 0, lengths[static_cast<size_t>(s)]);
    acts_PS.select(1, s).index_fill_(0, order, true);
  }
  return acts_PS;
}

struct ProductCase {
  std::vector<int64_t> lengths;
  int64_t E, D;
};

// Lengths around the 32 positions of a step, the three steps in shared memory and the 8 and 16 of
// a tensor core; E and D around the tiles of 64, 128 and 256.
const std::vector<ProductCase> kProductCases = {{{0, 1, 7, 15, 16, 17}, 16, 16},
                                                {{31, 32, 33, 0, 130}, 48, 80},
                                                {{63, 64, 65, 95, 96, 97}, 64, 256},
                                                {{0, 33, 130}, 80, 272},
                                                {{1, 32, 64, 129}, 128, 256},
                                                {{17, 0, 128}, 128, 528},
                                                {{40, 3}, 192, 96}};

}  // namespace

TEST_CASE("query rows are the positions of kept heads with a gradient", "[emulation][kernels]") {
  // Around 32 positions, 256 words of 32, 2048 QK heads; a head that owns several kept ones.
  for (const RowsCase& c :
       {RowsCase{1, 1, 2, 1}, RowsCase{31, 3, 6, 4}, RowsCase{32, 2, 4, 3}, RowsCase{33, 8, 16, 2},
        RowsCase{8230, 1, 2, 2}, RowsCase{40, 2, 2100, 1}, RowsCase{0, 2, 4, 1}}) {
    INFO("P " << c.P << ", K " << c.K << ", S " << c.S << ", G " << c.G);
    at::manual_seed(5);
    const at::Tensor head_PK = at::rand({c.P, c.S * c.G})
                                   .argsort(/*dim=*/int64_t{1})
                                   .narrow(1, 0, c.K)
                                   .to(at::kInt)
                                   .contiguous();
    at::Tensor grad_PK = at::randn({c.P, c.K}).to(at::kBFloat16);
    grad_PK.masked_fill_(at::rand({c.P, c.K}) < 0.3, -0.0);
    const at::Tensor acts_PS = at::zeros({c.P, c.S})
                                   .scatter_add_(1, at::floor_divide(head_PK.to(at::kLong), c.G),
                                                 grad_PK.ne(0).to(at::kFloat))
                                   .ne(0);
    check_rows(found_rows(c, grad_PK, head_PK), rows_of(acts_PS));
  }
}

TEST_CASE("the product of gathered rows is that in double, and reads nothing else",
          "[emulation][kernels]") {
  constexpr int64_t kPositions = 140;
  for (const ProductCase& c : kProductCases) {
    const auto S = std::ssize(c.lengths);
    INFO("E " << c.E << ", D " << c.D << ", S " << S);
    at::manual_seed(6);
    const at::Tensor acts_PS = acts_of_lengths(c.lengths, kPositions);
    const at::Tensor grad = at::randn({kPositions, S, c.E}).to(at::kBFloat16);
    const at::Tensor outside = acts_PS.logical_not().unsqueeze(2);
    const at::Tensor x = at::randn({kPositions, c.D}).to(at::kBFloat16);
    const QueryRows rows = rows_of(acts_PS);
    const LinearGradients found = emulation::in_orders(
        emulation::num_orders(),
        [&] {
          const EmulatedCuda device;
          return kernels::product_tn_heads(
              grad.masked_fill(outside, kNothing),
              x.masked_fill(acts_PS.any(1, true).logical_not(), kNothing), rows);
        },
        [](const LinearGradients& a, const LinearGradients& b) {
          return same_bits(a.weight_NK, b.weight_NK) && same_bits(a.bias_N, b.bias_N);
        });
    const at::Tensor exact = grad.to(at::kDouble).masked_fill(outside, 0.0).flatten(1);
    REQUIRE(found.weight_NK.scalar_type() == at::kFloat);
    // Every product of bfloat16 values is exact in float32.
    REQUIRE(relative_error(found.weight_NK, at::mm(exact.t(), x.to(at::kDouble))) < 1e-6);
    REQUIRE(relative_error(found.bias_N, exact.sum(0)) < 1e-6);
    for (int64_t s = 0; s < S; ++s) {
      if (c.lengths[static_cast<size_t>(s)] == 0) {
        REQUIRE(found.weight_NK.narrow(0, s * c.E, c.E).count_nonzero().item<int64_t>() == 0);
        REQUIRE(found.bias_N.narrow(0, s * c.E, c.E).count_nonzero().item<int64_t>() == 0);
      }
    }
  }
}

TEST_CASE("of other widths the whole gradient is multiplied", "[emulation][kernels]") {
  const QueryRows nowhere = rows_of(at::zeros({70, 2}, at::kBool));
  for (const auto& [E, D] : {std::pair<int64_t, int64_t>{16, 24}, {8, 32}}) {
    const at::Tensor grad = at::randn({70, 2, E}).to(at::kBFloat16);
    const at::Tensor x = at::randn({70, D}).to(at::kBFloat16);
    const EmulatedCuda device;
    const LinearGradients found = kernels::product_tn_heads(grad, x, nowhere);
    REQUIRE(at::equal(found.weight_NK, kernels::product_tn_heads(grad, x).weight_NK));
    REQUIRE(found.weight_NK.count_nonzero().item<int64_t>() > 0);
  }
}

TEST_CASE("attention's backward pass lists query rows in bfloat16 where they are few",
          "[emulation][kernels]") {
  struct Case {
    int64_t K, S, E;
    at::ScalarType dtype;
    kernels::GradientsOf gradients;
    bool lists;
  };

  constexpr auto kAll = kernels::GradientsOf::kAll;

  for (const Case& c :
       {Case{3, 6, 16, at::kBFloat16, kAll, true}, Case{4, 6, 16, at::kBFloat16, kAll, false},
        Case{3, 6, 8, at::kBFloat16, kAll, false}, Case{3, 6, 16, at::kFloat, kAll, false},
        Case{3, 6, 16, at::kBFloat16, kernels::GradientsOf::kValues, false}}) {
    at::manual_seed(7);
    const auto values = [&](int64_t width) { return at::randn({2, 9, c.S, width}).to(c.dtype); };
    const at::Tensor q = values(c.E);
    const at::Tensor k = values(c.E);
    const at::Tensor v = values(4);
    const at::Tensor head = at::rand({18, c.S * 4}).argsort(/*dim=*/int64_t{1}).narrow(1, 0, c.K);
    const EmulatedCuda device;
    const auto back = kernels::attention_backward(
        q, k, v, kernels::attention_forward(q, k, v, 4.0), at::randn({18, c.K}).to(c.dtype),
        head.to(at::kInt).contiguous(), 4.0, {.gradients = c.gradients});
    INFO("K " << c.K << ", E " << c.E << ", " << c.dtype);
    REQUIRE(back.q_rows.has_value() == c.lists);
    if (c.lists) {
      const at::Tensor acts_PS = back.grad_q_BTSE.ne(0).any(3).flatten(0, 1);
      // The first position of a sequence sees one key: the gradient of its query is 0.
      const at::Tensor listed = at::zeros_like(acts_PS);
      for (int64_t s = 0; s < c.S; ++s) {
        const int64_t count = back.q_rows->count_S[s].item<int64_t>();
        listed.select(1, s).index_fill_(
            0, back.q_rows->position_SP.select(0, s).narrow(0, 0, count).to(at::kLong), true);
      }
      REQUIRE(at::equal(acts_PS.logical_or(listed), listed));
      REQUIRE(listed.sum().item<int64_t>() < 18 * c.S);
    }
  }
}
