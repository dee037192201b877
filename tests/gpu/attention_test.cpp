#include "lorsa/kernels/attention.h"

#include "gpu/device.h"
#include "lorsa/kernels/rope.h"
#include "support/test.h"

using namespace lorsa;
using test::distance;
using test::kCuda;
using test::roundings;

namespace {

struct Case {
  int64_t B, T, S, E, G;
};

// cuDNN with equal and unequal widths, lengths that are no multiple of its tiles, flash attention's
// widths, the memory-efficient kernel's, and widths for the formula alone.
const std::vector<Case> kCases = {
    {2, 256, 4, 128, 128}, {1, 1024, 2, 64, 64}, {2, 200, 3, 64, 128}, {1, 65, 2, 128, 8},
    {1, 130, 2, 256, 256}, {2, 48, 2, 64, 64},   {1, 33, 2, 16, 48},   {2, 70, 3, 10, 5}};

struct Inputs {
  at::Tensor q, k, v, grad_PK, head_PK;
};

Inputs make(const Case& c, at::ScalarType dtype) {
  at::manual_seed(21);
  const auto values = [&](int64_t width) {
    return at::randn({c.B, c.T, c.S, width}, at::kDouble).to(kCuda, dtype);
  };
  const int64_t P = c.B * c.T;
  const int64_t K = std::min<int64_t>(4, c.S * c.G);
  const at::Tensor order = at::rand({P, c.S * c.G}).argsort(/*dim=*/int64_t{1});
  return {values(c.E), values(c.E), values(c.G), at::randn({P, K}, at::kDouble).to(kCuda, dtype),
          order.narrow(1, 0, K).to(kCuda, at::kInt).contiguous()};
}

}  // namespace

TEST_CASE("attention on CUDA agrees with the CPU in double", "[gpu][attention]") {
  for (const Case& c : kCases) {
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
      const Inputs in = make(c, dtype);
      const auto d = [](const at::Tensor& x) { return x.to(at::kCPU, at::kDouble); };
      const double scale = 5.0;
      const auto exact = kernels::attention_forward(d(in.q), d(in.k), d(in.v), scale);
      const auto ours = kernels::attention_forward(in.q, in.k, in.v, scale);
      INFO("T " << c.T << ", E " << c.E << ", G " << c.G << ", " << dtype);
      CHECK(distance(ours.z_PH, exact.z_PH) < roundings(dtype));
      CHECK(distance(ours.lse_BST, exact.lse_BST) < roundings(dtype));
      const at::Tensor head = in.head_PK.cpu();
      const auto exact_back =
          kernels::attention_backward(d(in.q), d(in.k), d(in.v), exact, d(in.grad_PK), head, scale);
      const auto back =
          kernels::attention_backward(in.q, in.k, in.v, ours, in.grad_PK, in.head_PK, scale);
      CHECK(distance(back.grad_q_BTSE, exact_back.grad_q_BTSE) < roundings(dtype));
      CHECK(distance(back.grad_k_BTSE, exact_back.grad_k_BTSE) < roundings(dtype));
      CHECK(distance(back.grad_v_BTSG, exact_back.grad_v_BTSG) < roundings(dtype));
      CHECK(back.grad_q_BTSE.is_contiguous());
    }
  }
}

TEST_CASE("attention backward on CUDA follows a raised log-sum-exp", "[gpu][attention]") {
  // As virtual keys raise it: z and the weights shrink by the same share.
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Inputs in = make({1, 130, 2, 64, 64}, dtype);
    const auto d = [](const at::Tensor& x) { return x.to(at::kCPU, at::kDouble); };
    const auto raised = [](kernels::AttentionResult result) {
      result.z_PH = result.z_PH * 0.5;
      result.lse_BST = result.lse_BST + std::log(2.0);
      return result;
    };
    const auto exact = raised(kernels::attention_forward(d(in.q), d(in.k), d(in.v), 8.0));
    const auto ours = raised(kernels::attention_forward(in.q, in.k, in.v, 8.0));
    const auto exact_back = kernels::attention_backward(d(in.q), d(in.k), d(in.v), exact,
                                                        d(in.grad_PK), in.head_PK.cpu(), 8.0);
    const auto back =
        kernels::attention_backward(in.q, in.k, in.v, ours, in.grad_PK, in.head_PK, 8.0);
    INFO(dtype);
    CHECK(distance(back.grad_q_BTSE, exact_back.grad_q_BTSE) < roundings(dtype));
    CHECK(distance(back.grad_k_BTSE, exact_back.grad_k_BTSE) < roundings(dtype));
    CHECK(distance(back.grad_v_BTSG, exact_back.grad_v_BTSG) < roundings(dtype));
  }
}

TEST_CASE("RoPE on CUDA agrees with the CPU in double, both ways and layouts",
          "[gpu][kernels][rope]") {
  for (const auto layout : {kernels::RopeLayout::kHalfSplit, kernels::RopeLayout::kAdjacentPairs}) {
    // Widths that go by packs of 16 bytes and one that does not; part of the head rotated.
    for (const int64_t rotary : {128, 32, 6}) {
      for (const auto dtype : {at::kFloat, at::kBFloat16, at::kDouble}) {
        kernels::RopeSpec spec;
        spec.rotary_dim = rotary;
        spec.layout = layout;
        at::manual_seed(22);
        const at::Tensor x = at::randn({2, 70, 3, 128}, at::kDouble).to(kCuda, dtype);
        const auto table_dtype = dtype == at::kDouble ? at::kDouble : at::kFloat;
        const auto table = kernels::rope_table(spec, 70, table_dtype, kCuda);
        const auto exact_table = kernels::rope_table(spec, 70, at::kDouble, at::kCPU);
        for (const auto direction :
             {kernels::RopeDirection::kForward, kernels::RopeDirection::kInverse}) {
          at::Tensor ours = x.clone();
          at::Tensor exact = x.to(at::kCPU, at::kDouble);
          kernels::apply_rope_(ours, spec, table, direction);
          kernels::apply_rope_(exact, spec, exact_table, direction);
          INFO("rotary " << rotary << ", " << dtype);
          CHECK(distance(ours, exact) < roundings(dtype));
        }
      }
    }
  }
}
