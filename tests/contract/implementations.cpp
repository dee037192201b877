#include "contract/implementations.h"

#include <ATen/ATen.h>

#include <limits>
#include <utility>

#include "support/test.h"

namespace lorsa::test {
namespace {

/// While it lives, at::empty returns NaN (integers: their maximum) instead of whatever lay there.
class PoisonedEmpty {
 public:
  PoisonedEmpty()
      : deterministic_(at::globalContext().deterministicAlgorithms()),
        fill_(at::globalContext().deterministicFillUninitializedMemory()) {
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
    at::globalContext().setDeterministicFillUninitializedMemory(true);
  }

  ~PoisonedEmpty() {
    at::globalContext().setDeterministicAlgorithms(deterministic_, /*warn_only=*/false);
    at::globalContext().setDeterministicFillUninitializedMemory(fill_);
  }

  PoisonedEmpty(const PoisonedEmpty&) = delete;
  PoisonedEmpty& operator=(const PoisonedEmpty&) = delete;

 private:
  bool deterministic_;
  bool fill_;
};

template <typename Function>
auto poisoned(Function function) {
  return [function](auto&&... arguments) {
    const PoisonedEmpty guard;
    return function(std::forward<decltype(arguments)>(arguments)...);
  };
}

}  // namespace

Implementation public_implementation(std::string name,
                                     c10::Device device,
                                     std::vector<at::ScalarType> dtypes) {
  Implementation result;
  result.name = std::move(name);
  result.device = device;
  result.dtypes = std::move(dtypes);
  result.top_k = poisoned([](const auto&... of) { return kernels::top_k_heads(of...); });
  result.decode = poisoned(kernels::sparse_decode);
  result.decode_loss = poisoned(kernels::sparse_decode_loss);
  result.decode_backward = poisoned(kernels::sparse_decode_backward);
  result.scatter = poisoned(kernels::scatter_kept);
  result.adam = [](auto& p, const auto& g, auto& m, auto& v, const auto& hyper) {
    kernels::adam_step_(p, g, m, v, hyper);
  };
  result.squared_norm = [](const at::Tensor& x) { return kernels::squared_norm(x).item<double>(); };
  result.rope = kernels::apply_rope_;
  return result;
}

void for_each_implementation(
    const std::function<void(const Implementation&, at::ScalarType)>& test) {
  REQUIRE_FALSE(implementations().empty());
  for (const Implementation& implementation : implementations()) {
    for (const at::ScalarType dtype : implementation.dtypes) {
      DYNAMIC_SECTION(implementation.name << " " << dtype) {
        test(implementation, dtype);
      }
    }
  }
}

}  // namespace lorsa::test

TEST_CASE("the suites see poison where a kernel does not write", "[kernels]") {
  using lorsa::test::implementations;
  const auto unwritten = lorsa::test::poisoned([](at::ScalarType dtype, c10::Device device) {
    return at::empty({64}, at::TensorOptions(dtype).device(device));
  });
  const c10::Device device = implementations().back().device;
  REQUIRE(unwritten(at::kFloat, device).isnan().all().item<bool>());
  REQUIRE(unwritten(at::kInt, device).eq(std::numeric_limits<int32_t>::max()).all().item<bool>());
}
