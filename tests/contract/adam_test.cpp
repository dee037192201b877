#include <cmath>
#include <vector>

#include "contract/samples.h"
#include "support/tensors.h"
#include "support/test.h"

using namespace lorsa;
using namespace lorsa::test;
using kernels::AdamHyper;
using kernels::AdamKind;

namespace {

/// Parameter and moments, stepped by ATen in double with the formulas of Kingma and Ba (2015) and
/// the decoupled decay of Loshchilov and Hutter (2019).
struct AdamOracle {
  at::Tensor parameter, first, second;

  void step(const at::Tensor& raw_gradient, const AdamHyper& hyper) {
    const AdamOracle before = *this;
    const at::Tensor gradient = raw_gradient.to(at::kCPU, at::kDouble) * hyper.gradient_scale;
    first = first * hyper.beta1 + gradient * (1.0 - hyper.beta1);
    second = second * hyper.beta2 + gradient.square() * (1.0 - hyper.beta2);
    const double t = static_cast<double>(hyper.step);
    const at::Tensor first_hat = first / (1.0 - std::pow(hyper.beta1, t));
    const at::Tensor second_hat = second / (1.0 - std::pow(hyper.beta2, t));
    parameter = parameter * (1.0 - hyper.learning_rate * hyper.weight_decay) -
                hyper.learning_rate * first_hat / (second_hat.sqrt() + hyper.eps);
    if (hyper.kind == AdamKind::kSparse) {
      const at::Tensor touched = gradient.ne(0);
      first = at::where(touched, first, before.first);
      second = at::where(touched, second, before.second);
      parameter = at::where(touched, parameter, before.parameter);
    }
  }
};

}  // namespace

TEST_CASE("adam_step_ follows the formula of Adam over several steps", "[kernels][adam]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType half_or_full) {
    const at::ScalarType dtype = sum_dtype(half_or_full);
    for (const int64_t size : {1, 7, 64, 4095, 4096, 4097, 10000}) {
      CAPTURE(size);
      at::Tensor parameter = normal({size}, 31, dtype, implementation.device);
      at::Tensor first = at::zeros_like(parameter);
      at::Tensor second = at::zeros_like(parameter);
      AdamOracle oracle{DecodeSample::in_double(parameter).clone(),
                        DecodeSample::in_double(first).clone(),
                        DecodeSample::in_double(second).clone()};
      AdamHyper hyper;
      hyper.learning_rate = 3e-2;
      hyper.weight_decay = 0.1;
      hyper.gradient_scale = 0.7;
      for (hyper.step = 1; hyper.step <= 4; ++hyper.step) {
        const at::Tensor gradient =
            normal({size}, 40 + static_cast<uint64_t>(hyper.step), dtype, implementation.device);
        implementation.adam(parameter, gradient, first, second, hyper);
        oracle.step(gradient, hyper);
      }
      REQUIRE(relative_error(parameter, oracle.parameter) <= tolerance(dtype));
      REQUIRE(relative_error(first, oracle.first) <= tolerance(dtype));
      REQUIRE(relative_error(second, oracle.second) <= tolerance(dtype));
    }
  });
}

TEST_CASE("adam_step_ leaves a parameter without gradient where it is", "[kernels][adam]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType half_or_full) {
    const at::ScalarType dtype = sum_dtype(half_or_full);
    at::Tensor parameter = normal({100}, 32, dtype, implementation.device);
    const at::Tensor before = parameter.clone();
    at::Tensor first = at::zeros_like(parameter);
    at::Tensor second = at::zeros_like(parameter);
    implementation.adam(parameter, at::zeros_like(parameter), first, second, AdamHyper{});
    REQUIRE(at::equal(parameter, before));
    at::Tensor none = at::empty({0}, parameter.options());
    at::Tensor no_first = none.clone();
    at::Tensor no_second = none.clone();
    REQUIRE_NOTHROW(implementation.adam(none, none.clone(), no_first, no_second, AdamHyper{}));
  });
}

TEST_CASE("sparse Adam moves what has a gradient and leaves the rest bit for bit",
          "[kernels][adam]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType half_or_full) {
    const at::ScalarType dtype = sum_dtype(half_or_full);
    for (const int64_t size : {1, 7, 64, 4097, 10000}) {
      CAPTURE(size);
      at::Tensor parameter = normal({size}, 34, dtype, implementation.device);
      at::Tensor first = normal({size}, 35, dtype, implementation.device);
      at::Tensor second = normal({size}, 36, dtype, implementation.device).square();
      AdamOracle oracle{DecodeSample::in_double(parameter).clone(),
                        DecodeSample::in_double(first).clone(),
                        DecodeSample::in_double(second).clone()};
      AdamHyper hyper;
      hyper.kind = AdamKind::kSparse;
      hyper.learning_rate = 3e-2;
      hyper.weight_decay = 0.1;
      hyper.gradient_scale = 0.7;
      for (hyper.step = 1; hyper.step <= 3; ++hyper.step) {
        at::Tensor gradient =
            normal({size}, 50 + static_cast<uint64_t>(hyper.step), dtype, implementation.device);
        gradient.masked_fill_(gradient < 0.3, 0.0);
        gradient.masked_fill_((gradient > 0.9).logical_and(gradient < 1.0), -0.0);
        const at::Tensor untouched = gradient.eq(0);
        const std::vector<at::Tensor> before = {parameter.clone(), first.clone(), second.clone()};
        implementation.adam(parameter, gradient, first, second, hyper);
        oracle.step(gradient, hyper);
        const std::vector<at::Tensor> after = {parameter, first, second};
        for (size_t i = 0; i < after.size(); ++i) {
          REQUIRE(at::equal(after[i].masked_select(untouched), before[i].masked_select(untouched)));
        }
      }
      REQUIRE(relative_error(parameter, oracle.parameter) <= tolerance(dtype));
      REQUIRE(relative_error(first, oracle.first) <= tolerance(dtype));
      REQUIRE(relative_error(second, oracle.second) <= tolerance(dtype));
    }
  });
}

TEST_CASE("sparse Adam equals dense Adam where every gradient is non-zero", "[kernels][adam]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType half_or_full) {
    const at::ScalarType dtype = sum_dtype(half_or_full);
    const at::Tensor gradient = normal({5000}, 37, dtype, implementation.device).abs() + 0.1;
    std::vector<at::Tensor> stepped;
    for (const AdamKind kind : {AdamKind::kDense, AdamKind::kSparse}) {
      at::Tensor parameter = normal({5000}, 38, dtype, implementation.device);
      at::Tensor first = at::zeros_like(parameter);
      at::Tensor second = at::zeros_like(parameter);
      AdamHyper hyper;
      hyper.kind = kind;
      implementation.adam(parameter, gradient, first, second, hyper);
      stepped.push_back(parameter);
    }
    REQUIRE(relative_error(stepped[1], stepped[0]) <= tolerance(dtype));
  });
}

TEST_CASE("squared_norm sums in double", "[kernels][adam]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType half_or_full) {
    const at::ScalarType dtype = sum_dtype(half_or_full);
    for (const int64_t size : {0, 1, 5, 4095, 4096, 4097, 300001}) {
      CAPTURE(size);
      const at::Tensor x = normal({size}, 33, dtype, implementation.device);
      const double expected = DecodeSample::in_double(x).square().sum().item<double>();
      REQUIRE(implementation.squared_norm(x) == Approx(expected).epsilon(1e-12));
    }
  });
}
