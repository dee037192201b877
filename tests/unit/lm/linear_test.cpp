#include "lm/linear.h"

#include <ATen/ATen.h>

#include "support/tensors.h"
#include "support/test.h"

using namespace lorsa;
using lm::Linear;

TEST_CASE("a packed weight multiplies as the weight that was given", "[lm]") {
  at::manual_seed(5);
  for (const auto& [out, in] : {std::pair<int64_t, int64_t>{64, 64}, {193, 77}, {65, 130}}) {
    for (const bool has_bias : {false, true}) {
      CAPTURE(out, in, has_bias);
      const at::Tensor weight = at::randn({out, in});
      const at::Tensor bias = has_bias ? at::randn({out}) : at::Tensor();
      const Linear linear(weight, bias);
      CHECK(linear.is_packed() == at::hasMKLDNN());
      CHECK(at::equal(linear.weight(), weight));
      for (const int64_t rows : {1, 2, 131}) {
        const at::Tensor x = at::randn({2, rows, in});
        at::Tensor expected = at::matmul(x.to(at::kDouble), weight.to(at::kDouble).t());
        expected = has_bias ? expected + bias.to(at::kDouble) : expected;
        CHECK(test::relative_error(linear(x), expected) < 1e-6);
        at::Tensor sum = at::ones({2, rows, out});
        linear.add_to_(sum, x);
        CHECK(test::relative_error(sum, expected + 1.0) < 1e-6);
      }
    }
  }
}

TEST_CASE("narrow and wide-precision weights stay as they are", "[lm]") {
  for (const at::Tensor& weight :
       {at::randn({200, 24}), at::randn({24, 200}), at::randn({80, 80}, at::kBFloat16),
        at::randn({80, 80}, at::kDouble)}) {
    const Linear linear(weight, at::Tensor());
    CHECK_FALSE(linear.is_packed());
    CHECK(linear.weight().is_same(weight));
  }
}
