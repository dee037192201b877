#include <ATen/ATen.h>

#include "lorsa/core/error.h"
#include "lorsa/kernels/adam.h"
#include "lorsa/kernels/sparse.h"
#include "support/test.h"

using namespace lorsa;
using kernels::AdamHyper;
using kernels::Selection;
using kernels::TopK;

TEST_CASE("top_k_heads refuses shapes, dtypes and strides that do not fit", "[kernels]") {
  const at::Tensor z = at::ones({4, 6});
  const at::Tensor norm = at::ones({6});
  const auto call = [](const at::Tensor& a, const at::Tensor& b, int64_t k) {
    return kernels::top_k_heads(a, b, k, Selection::kPositive);
  };
  REQUIRE_NOTHROW(call(z, norm, 6));
  REQUIRE_THROWS_AS(call(z, norm, 0), ShapeError);
  REQUIRE_THROWS_WITH(call(z, norm, 7), Catch::Contains("top_k = 7") && Catch::Contains("6"));
  REQUIRE_THROWS_WITH(call(z, at::ones({5}), 2), Catch::Contains("norm_H is [5]"));
  REQUIRE_THROWS_AS(call(z, norm.to(at::kDouble), 2), ShapeError);
  REQUIRE_THROWS_AS(call(z[0], norm, 2), ShapeError);
  REQUIRE_THROWS_AS(call(z.to(at::kLong), norm, 2), ShapeError);
  REQUIRE_THROWS_AS(call(z.to(at::kBFloat16), norm.to(at::kBFloat16), 2), ShapeError);
  REQUIRE_THROWS_AS(call(z.to(at::kHalf), norm, 2), ShapeError);
  REQUIRE_THROWS_WITH(call(at::ones({6, 4}).t(), norm, 2), Catch::Contains("contiguous()"));
  REQUIRE_THROWS_AS(call({}, norm, 2), ShapeError);
}

TEST_CASE("sparse_decode and its relatives refuse what does not fit", "[kernels]") {
  const at::Tensor W_O = at::ones({5, 8});
  const at::Tensor b = at::ones({8});
  const TopK kept{at::ones({3, 2}), at::ones({3, 2}, at::kInt)};
  const at::Tensor target = at::ones({3, 8});
  const at::Tensor scored = at::ones({3}, at::kBool);
  const auto loss = [&](const at::Tensor& t, const at::Tensor& s) {
    return kernels::sparse_decode_loss(kept, W_O, b, t, s, 1.0, Selection::kPositive);
  };
  const auto backward = [&](const at::Tensor& grad_y) {
    return kernels::sparse_decode_backward(kept, grad_y, 5);
  };
  REQUIRE_NOTHROW(kernels::sparse_decode(kept, W_O, b));
  REQUIRE_NOTHROW(loss(target, scored));
  REQUIRE_NOTHROW(backward(target));

  REQUIRE_THROWS_WITH(kernels::sparse_decode(kept, at::ones({8, 5}).t(), b),
                      Catch::Contains("contiguous()"));
  REQUIRE_THROWS_AS(kernels::sparse_decode(kept, W_O, at::ones({7})), ShapeError);
  REQUIRE_THROWS_AS(kernels::sparse_decode(kept, W_O.to(at::kDouble), b), ShapeError);
  REQUIRE_THROWS_AS(kernels::sparse_decode({kept.value_PK, kept.head_PK.to(at::kLong)}, W_O, b),
                    ShapeError);
  REQUIRE_THROWS_WITH(kernels::sparse_decode({kept.value_PK, kept.head_PK * 5}, W_O, b),
                      Catch::Contains("head_PK holds 5"));
  REQUIRE_THROWS_AS(kernels::sparse_decode({kept.value_PK, kept.head_PK * -1}, W_O, b), ShapeError);
  REQUIRE_THROWS_AS(loss(at::ones({3, 7}), scored), ShapeError);
  REQUIRE_THROWS_AS(loss(target, at::ones({4}, at::kBool)), ShapeError);
  REQUIRE_THROWS_AS(loss(target, at::ones({3})), ShapeError);
  REQUIRE_THROWS_WITH(backward(at::ones({8, 3}).t()), Catch::Contains("grad_y_PD"));
  REQUIRE_THROWS_WITH(backward(at::ones({4, 8})), Catch::Contains("expected [3, 8]"));
  REQUIRE_THROWS_WITH(kernels::sparse_decode_backward(kept, target, 1),
                      Catch::Contains("head_PK holds 1"));
  REQUIRE_THROWS_AS(kernels::scatter_kept(kept.value_PK, kept.head_PK, 1), ShapeError);
}

TEST_CASE("adam_step_ refuses what does not fit", "[kernels]") {
  at::Tensor parameter = at::ones({4, 3});
  at::Tensor first = at::zeros({4, 3});
  at::Tensor second = at::zeros({4, 3});
  const at::Tensor gradient = at::ones({4, 3});
  REQUIRE_NOTHROW(kernels::adam_step_(parameter, gradient, first, second, AdamHyper{}));
  REQUIRE_THROWS_WITH(kernels::adam_step_(parameter, at::ones({3, 4}), first, second, AdamHyper{}),
                      Catch::Contains("gradient is [3, 4]"));
  REQUIRE_THROWS_AS(
      kernels::adam_step_(parameter, at::ones({3, 4}).t(), first, second, AdamHyper{}), ShapeError);
  REQUIRE_THROWS_AS(
      kernels::adam_step_(parameter, gradient.to(at::kDouble), first, second, AdamHyper{}),
      ShapeError);
  AdamHyper zeroth;
  zeroth.step = 0;
  REQUIRE_THROWS_AS(kernels::adam_step_(parameter, gradient, first, second, zeroth), Error);
  REQUIRE_THROWS_AS(kernels::squared_norm(at::ones({2, 2}, at::kBFloat16)), ShapeError);
}

TEST_CASE("adam_step_ rounds the parameter into a bfloat16 copy", "[kernels]") {
  at::Tensor parameter = at::randn({5000});
  parameter.slice(0, 0, 2).fill_(std::numeric_limits<double>::quiet_NaN());
  at::Tensor first = at::zeros_like(parameter);
  at::Tensor second = at::zeros_like(parameter);
  const at::Tensor copy = at::zeros({5000}, at::kBFloat16);
  kernels::adam_step_(parameter, at::randn({5000}), first, second, AdamHyper{}, copy);
  REQUIRE(copy.slice(0, 0, 2).isnan().all().item<bool>());
  REQUIRE(at::equal(copy.slice(0, 2), parameter.slice(0, 2).to(at::kBFloat16)));
  REQUIRE(copy.slice(0, 2).ne(0).all().item<bool>());
}
