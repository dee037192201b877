#include <limits>

#include "contract/samples.h"
#include "lorsa/core/error.h"
#include "support/test.h"
#include "torch_private/cpu_generator.h"

using namespace lorsa;
using namespace lorsa::test;
using kernels::Selection;
using kernels::TopK;

namespace {

/// What a stable sort of the scores by ATen keeps. Scores are one product, rounded once.
TopK expected_top_k(const at::Tensor& z, const at::Tensor& norm, int64_t k, Selection selection) {
  const at::Tensor host_z = z.cpu();
  const at::Tensor activation = selection == Selection::kSigned ? host_z : host_z.clamp_min(0);
  const at::Tensor score =
      (selection == Selection::kSigned ? host_z.abs() : activation).to(norm.scalar_type()) *
      norm.cpu();
  const auto [sorted, order] = score.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true);
  const at::Tensor head = order.slice(1, 0, k);
  return {activation.gather(1, head), head.to(at::kInt)};
}

void check_top_k(const Implementation& implementation,
                 const at::Tensor& z,
                 const at::Tensor& norm,
                 int64_t k) {
  for (const Selection selection : {Selection::kPositive, Selection::kSigned}) {
    CAPTURE(z.sizes(), k, selection == Selection::kSigned);
    const TopK expected = expected_top_k(z, norm, k, selection);
    const TopK kept = implementation.top_k(z, norm, k, selection);
    REQUIRE(kept.head_PK.scalar_type() == at::kInt);
    REQUIRE(kept.value_PK.scalar_type() == z.scalar_type());
    REQUIRE(at::equal(kept.head_PK.cpu(), expected.head_PK));
    REQUIRE(at::equal(kept.value_PK.cpu(), expected.value_PK));
  }
}

at::Tensor norms(int64_t heads, at::ScalarType dtype, c10::Device device) {
  return normal({heads}, 99, sum_dtype(dtype), device).abs() + 0.1;
}

at::Tensor ones(int64_t heads, at::ScalarType dtype, c10::Device device) {
  return at::ones({heads}, at::TensorOptions(sum_dtype(dtype)).device(device));
}

}  // namespace

TEST_CASE("top_k_heads keeps what a stable sort of the scores keeps", "[kernels][top_k]") {
  struct Size {
    int64_t positions, heads, k;
  };

  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    for (const Size size :
         {Size{1, 1, 1}, Size{3, 15, 4}, Size{5, 16, 16}, Size{4, 17, 3}, Size{2, 64, 63},
          Size{3, 257, 32}, Size{2, 1000, 1000}, Size{9, 2304, 32}, Size{2, 4097, 128},
          Size{2, 32768, 64}, Size{1, 5000, 1500}}) {
      const at::Tensor z = normal({size.positions, size.heads}, 1, dtype, implementation.device);
      check_top_k(implementation, z, norms(size.heads, dtype, implementation.device), size.k);
    }
  });
}

TEST_CASE("top_k_heads breaks ties by the lower head", "[kernels][top_k]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    const c10::Device device = implementation.device;
    // Nine levels over 3000 heads: the threshold cuts through hundreds of equal scores.
    const at::Tensor levels = (normal({4, 3000}, 2, dtype, device) * 2).round();
    for (const int64_t k : {1, 32, 700, 3000}) {
      check_top_k(implementation, levels, ones(3000, dtype, device), k);
    }
    check_top_k(implementation, at::ones_like(levels), ones(3000, dtype, device), 128);
  });
}

TEST_CASE("top_k_heads tells scores apart that differ in the last bit", "[kernels][top_k]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    const double epsilon = dtype == at::kDouble ? 0x1p-52 : dtype == at::kFloat ? 0x1p-23 : 0x1p-7;
    const int64_t heads = dtype == at::kBFloat16 ? 100 : 2304;
    at::Generator generator = lorsa::torch_private::cpu_generator(3);
    const at::Tensor steps = at::randperm(heads, generator, at::kDouble).unsqueeze(0);
    const at::Tensor z = (1.0 + steps * epsilon).to(implementation.device, dtype);
    check_top_k(implementation, z, ones(heads, dtype, implementation.device), 32);
  });
}

TEST_CASE("top_k_heads fills up with the lowest heads of score zero", "[kernels][top_k]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    const c10::Device device = implementation.device;
    const int64_t heads = 2304;
    const at::Tensor norm = norms(heads, dtype, device);
    const at::Tensor negative = -normal({3, heads}, 4, dtype, device).abs() - 0.01;
    check_top_k(implementation, negative, norm, 32);

    at::Tensor few = negative.clone();
    few.slice(1, 2000, 2003).fill_(0.5);
    few.slice(1, 0, 1).fill_(-0.0);
    check_top_k(implementation, few, norm, 32);

    const TopK kept = implementation.top_k(few, norm, 5, Selection::kPositive);
    REQUIRE(at::equal(kept.head_PK.cpu().select(1, 3), at::zeros({3}, at::kInt)));
    REQUIRE(at::equal(kept.head_PK.cpu().select(1, 4), at::ones({3}, at::kInt)));
    REQUIRE(kept.value_PK.slice(1, 3, 5).eq(0).all().item<bool>());

    check_top_k(implementation, at::zeros({2, 40}, few.options()), ones(40, dtype, device), 40);
    check_top_k(implementation, few, at::zeros_like(norm), 7);
  });
}

TEST_CASE("top_k_heads puts infinities first", "[kernels][top_k]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    at::Tensor z = normal({2, 50}, 5, dtype, implementation.device);
    z.select(1, 44).fill_(std::numeric_limits<double>::infinity());
    z.select(1, 7).fill_(-std::numeric_limits<double>::infinity());
    check_top_k(implementation, z, norms(50, dtype, implementation.device), 6);
  });
}

TEST_CASE("top_k_heads of no positions is empty", "[kernels][top_k]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    const at::Tensor z = normal({0, 12}, 6, dtype, implementation.device);
    const TopK kept =
        implementation.top_k(z, ones(12, dtype, implementation.device), 3, Selection::kPositive);
    REQUIRE(kept.value_PK.sizes() == at::IntArrayRef({0, 3}));
    REQUIRE(kept.head_PK.sizes() == at::IntArrayRef({0, 3}));
  });
}

TEST_CASE("top_k_heads takes rows out of a wider matrix", "[kernels][top_k]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    const at::Tensor wide = normal({6, 100}, 7, dtype, implementation.device);
    check_top_k(implementation, wide.slice(1, 10, 70).slice(0, 1, 6, 2),
                norms(60, dtype, implementation.device), 9);
  });
}

TEST_CASE("top_k_heads names position and head of a NaN", "[kernels][top_k]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    const c10::Device device = implementation.device;
    at::Tensor z = normal({4, 70}, 8, dtype, device);
    z[2].select(0, 69).fill_(std::numeric_limits<double>::quiet_NaN());
    z[3].select(0, 1).fill_(std::numeric_limits<double>::quiet_NaN());
    for (const Selection selection : {Selection::kPositive, Selection::kSigned}) {
      REQUIRE_THROWS_WITH(implementation.top_k(z, norms(70, dtype, device), 3, selection),
                          Catch::Contains("position 2, head 69"));
    }
    at::Tensor infinite = at::ones({1, 5}, z.options());
    infinite[0].select(0, 4).fill_(std::numeric_limits<double>::infinity());
    REQUIRE_THROWS_AS(
        implementation.top_k(infinite, ones(5, dtype, device) * 0, 1, Selection::kPositive), Error);
  });
}
