#include "lorsa/kernels/pointwise.h"

#include <ATen/ATen.h>

#include <limits>

#include "lorsa/core/error.h"
#include "support/tensors.h"
#include "support/test.h"

using namespace lorsa;
using namespace lorsa::kernels;

TEST_CASE("rms_norm equals its formula, with and without the unit output", "[kernels]") {
  at::manual_seed(7);
  for (const int64_t D : {1, 7, 64, 577}) {
    for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
      const at::Tensor x = (at::randn({3, 41, D}, at::kDouble) * 5.0).to(dtype);
      const at::Tensor gain = at::randn({D}, at::kDouble).to(dtype);
      const at::Tensor wide = x.to(at::kDouble);
      const at::Tensor unit_expected = wide / at::sqrt(wide.square().mean(-1, true) + 0.01);
      const double tolerance = dtype == at::kDouble ? 1e-14 : (dtype == at::kFloat ? 1e-6 : 8e-3);
      CAPTURE(D, dtype);
      at::Tensor unit;
      const at::Tensor y = rms_norm(x, gain, 0.01, &unit);
      CHECK(y.scalar_type() == dtype);
      CHECK(test::relative_error(unit, unit_expected) <= tolerance);
      CHECK(test::relative_error(y, unit_expected * gain.to(at::kDouble)) <= tolerance);
      CHECK(at::equal(rms_norm(x, gain, 0.01), y));
    }
  }
  CHECK_THROWS_AS(rms_norm(at::zeros({2, 4}), at::zeros({3}), 1e-5), ShapeError);
  CHECK_THROWS_AS(rms_norm(at::zeros({2, 3}), at::zeros({3}, at::kDouble), 1e-5), ShapeError);
}

TEST_CASE("rms_norm reads a strided input", "[kernels]") {
  at::manual_seed(8);
  const at::Tensor x = at::randn({5, 6}).t();
  const at::Tensor gain = at::ones({5});
  CHECK(at::equal(rms_norm(x, gain, 1e-5), rms_norm(x.contiguous(), gain, 1e-5)));
}

TEST_CASE("silu_mul_ equals its formula over the whole range", "[kernels]") {
  at::manual_seed(9);
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    at::Tensor gate = (at::randn({50001}, at::kDouble) * 10.0).to(dtype);
    const at::Tensor up = at::randn({50001}, at::kDouble).to(dtype);
    const at::Tensor g = gate.to(at::kDouble).clone();
    const at::Tensor expected = g / (1.0 + at::exp(-g)) * up.to(at::kDouble);
    silu_mul_(gate, up);
    CAPTURE(dtype);
    CHECK(test::relative_error(gate, expected) <=
          (dtype == at::kDouble ? 1e-14 : (dtype == at::kFloat ? 5e-7 : 8e-3)));
  }
  at::Tensor extreme = at::tensor({-1e30f, -200.0f, -0.0f, 0.0f, 200.0f, 1e30f});
  silu_mul_(extreme, at::ones({6}));
  CHECK(at::equal(extreme, at::tensor({0.0f, 0.0f, 0.0f, 0.0f, 200.0f, 1e30f})));
  at::Tensor nan = at::full({3}, std::numeric_limits<float>::quiet_NaN());
  silu_mul_(nan, at::ones({3}));
  CHECK(nan.isnan().all().item<bool>());
  at::Tensor gate = at::zeros({3});
  CHECK_THROWS_AS(silu_mul_(gate, at::zeros({4})), ShapeError);
}
