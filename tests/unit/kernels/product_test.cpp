#include "kernels/product.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "kernels/block_product.h"
#include "kernels/cpu/transpose.h"
#include "support/tensors.h"
#include "support/test.h"

using namespace lorsa;
using test::relative_error;

namespace {

struct ProductCase {
  int64_t P, K, N;
};

// Below and above the least rows of the blocked path; edges of its blocks of 64 and 128 columns,
// 256 rows and 1024 terms; one of everything; more terms than a block.
const std::vector<ProductCase> kProductCases = {{1, 1, 1},      {63, 5, 7},      {64, 1, 1},
                                                {65, 8, 64},    {255, 63, 65},   {256, 64, 128},
                                                {257, 65, 129}, {300, 1025, 70}, {513, 130, 257}};

at::Tensor in_double(const at::Tensor& x) {
  return x.to(at::kDouble);
}

// Sums of up to 1025 products in float32.
constexpr double kTolerance = 2e-6;

}  // namespace

TEST_CASE("product_nt equals the product in double", "[kernels]") {
  for (const ProductCase& c : kProductCases) {
    INFO("P " << c.P << " K " << c.K << " N " << c.N);
    at::manual_seed(5);
    const at::Tensor x = at::randn({c.P, c.K});
    const at::Tensor weight = at::randn({c.N, c.K});
    const at::Tensor bias = at::randn({c.N});
    const at::Tensor expected = at::mm(in_double(x), in_double(weight).t());
    REQUIRE(relative_error(kernels::product_nt(x, weight), expected) < kTolerance);
    REQUIRE(relative_error(kernels::product_nt(x, weight, bias), expected + in_double(bias)) <
            kTolerance);
    const at::Tensor exact = kernels::product_nt(in_double(x), in_double(weight), in_double(bias));
    REQUIRE(relative_error(exact, expected + in_double(bias)) < 1e-14);
  }
}

TEST_CASE("product_tn equals the product in double, for rows and for columns that are contiguous",
          "[kernels]") {
  for (const ProductCase& c : kProductCases) {
    INFO("P " << c.P << " K " << c.K << " N " << c.N);
    at::manual_seed(6);
    const at::Tensor x = at::randn({c.P, c.K});
    const at::Tensor grad = at::randn({c.P, c.N});
    const at::Tensor expected = at::mm(in_double(grad).t(), in_double(x));
    const at::Tensor sums = in_double(grad).sum(0);
    const kernels::LinearGradients rows = kernels::product_tn(grad, x);
    REQUIRE(relative_error(rows.weight_NK, expected) < kTolerance);
    REQUIRE(relative_error(rows.bias_N, sums) < kTolerance);
    const kernels::LinearGradients columns = kernels::product_tn(grad.t().contiguous().t(), x);
    REQUIRE(relative_error(columns.weight_NK, expected) < kTolerance);
    REQUIRE(relative_error(columns.bias_N, sums) < kTolerance);
    REQUIRE(relative_error(kernels::product_tn(in_double(grad), in_double(x)).weight_NK, expected) <
            1e-14);
  }
}

TEST_CASE("the products have the same bits for every thread count", "[kernels]") {
  at::manual_seed(7);
  const at::Tensor x = at::randn({257, 1030});
  const at::Tensor weight = at::randn({389, 1030});
  const at::Tensor grad = at::randn({257, 389});
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor y = kernels::product_nt(x, weight);
  const kernels::LinearGradients g = kernels::product_tn(grad, x);
  for (const int threads : {2, 3}) {
    at::set_num_threads(threads);
    REQUIRE(at::equal(kernels::product_nt(x, weight), y));
    REQUIRE(at::equal(kernels::product_tn(grad, x).weight_NK, g.weight_NK));
    REQUIRE(at::equal(kernels::product_tn(grad, x).bias_N, g.bias_N));
  }
  at::set_num_threads(before);
}

TEST_CASE("rows of product_tn whose gradient is zero are exactly zero", "[kernels]") {
  at::manual_seed(8);
  const at::Tensor x = at::randn({300, 70});
  at::Tensor grad = at::randn({300, 130});
  grad.select(1, 3).zero_();
  grad.select(1, 129).zero_();
  const kernels::LinearGradients g = kernels::product_tn(grad, x);
  for (const int64_t column : {3, 129}) {
    REQUIRE(g.weight_NK[column].count_nonzero().item<int64_t>() == 0);
    REQUIRE(g.bias_N[column].item<float>() == 0.0F);
  }
  REQUIRE(g.weight_NK[4].count_nonzero().item<int64_t>() == 70);
}

TEST_CASE("transpose writes every element of every size and nothing else", "[kernels]") {
  for (const int64_t rows : {0, 1, 7, 8, 9, 16, 33}) {
    for (const int64_t columns : {0, 1, 7, 8, 15, 24}) {
      INFO(rows << " x " << columns);
      at::manual_seed(9);
      const at::Tensor from = at::randn({rows + 1, 40});
      at::Tensor to = at::full({columns + 1, 50}, -7.0F);
      kernels::cpu::transpose(from.const_data_ptr<float>(), 40, rows, columns,
                              to.mutable_data_ptr<float>(), 50);
      const at::Tensor block = to.narrow(0, 0, columns).narrow(1, 0, rows);
      REQUIRE(at::equal(block, from.narrow(0, 0, rows).narrow(1, 0, columns).t()));
      REQUIRE(to.eq(-7.0F).sum().item<int64_t>() == to.numel() - rows * columns);
    }
  }
}

TEST_CASE("block_product replaces or adds, inside larger matrices", "[kernels]") {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    at::manual_seed(10);
    const at::Tensor a = at::randn({5, 20}, dtype);
    const at::Tensor b = at::randn({9, 30}, dtype);
    at::Tensor c = at::randn({6, 40}, dtype);
    const at::Tensor before = c.clone();
    const at::Tensor product = at::mm(a.narrow(1, 0, 9), b.narrow(1, 0, 17));
    const kernels::BlockShape shape{5, 17, 9, 20, 30, 40};
    const auto multiply = [&](kernels::Sum sum) {
      if (dtype == at::kFloat) {
        kernels::block_product(shape, sum, a.const_data_ptr<float>(), b.const_data_ptr<float>(),
                               c.mutable_data_ptr<float>());
      } else {
        kernels::block_product(shape, sum, a.const_data_ptr<double>(), b.const_data_ptr<double>(),
                               c.mutable_data_ptr<double>());
      }
    };
    multiply(kernels::Sum::kReplace);
    REQUIRE(relative_error(c.narrow(0, 0, 5).narrow(1, 0, 17), product) < 1e-6);
    multiply(kernels::Sum::kAdd);
    REQUIRE(relative_error(c.narrow(0, 0, 5).narrow(1, 0, 17), 2 * product) < 1e-6);
    REQUIRE(at::equal(c.narrow(1, 17, 23), before.narrow(1, 17, 23)));
    REQUIRE(at::equal(c[5], before[5]));
  }
}

TEST_CASE("products of bfloat16 operands sum in float32 and keep gradients there", "[kernels]") {
  at::manual_seed(11);
  const at::Tensor x = at::randn({130, 70}).to(at::kBFloat16);
  const at::Tensor weight = at::randn({90, 70}).to(at::kBFloat16);
  const at::Tensor grad = at::randn({130, 90}).to(at::kBFloat16);
  const at::Tensor bias = at::randn({90});
  const auto d = [](const at::Tensor& t) { return t.to(at::kDouble); };
  const at::Tensor y = kernels::product_nt(x, weight, bias);
  const at::Tensor exact = at::mm(d(x), d(weight).t()) + d(bias);
  REQUIRE(y.scalar_type() == at::kBFloat16);
  // One rounding to 8 bits of each element.
  REQUIRE(((d(y) - exact).abs() <= exact.abs() * 0x1p-8 + 1e-5).all().item<bool>());
  const kernels::LinearGradients gradients = kernels::product_tn(grad, x);
  REQUIRE(gradients.weight_NK.scalar_type() == at::kFloat);
  REQUIRE(relative_error(gradients.weight_NK, at::mm(d(grad).t(), d(x))) < 1e-6);
  REQUIRE(relative_error(gradients.bias_N, d(grad).sum(0)) < 1e-6);
  const at::Tensor sums = kernels::product_of_sums(x, weight.t());
  REQUIRE(sums.scalar_type() == at::kFloat);
  REQUIRE(relative_error(sums, at::mm(d(x), d(weight).t())) < 1e-6);
}
