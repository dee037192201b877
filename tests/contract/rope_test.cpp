#include "contract/samples.h"
#include "support/tensors.h"
#include "support/test.h"

using namespace lorsa;
using namespace lorsa::test;
using kernels::RopeDirection;
using kernels::RopeLayout;

namespace {

/// The rotation in double, with the table's own values: pairs (a, b) by angle times sign.
at::Tensor rotated(const at::Tensor& x_BTSE,
                   const kernels::RopeSpec& spec,
                   const kernels::RopeTable& table,
                   double sign) {
  const at::Tensor x = DecodeSample::in_double(x_BTSE);
  const auto by_position = [&](const at::Tensor& part) {
    return DecodeSample::in_double(part).narrow(0, 0, x.size(1)).unsqueeze(1);
  };
  const at::Tensor cos = by_position(table.cos);
  const at::Tensor sin = by_position(table.sin) * sign;
  const int64_t rotary = spec.rotary_dim;
  const bool split = spec.layout == RopeLayout::kHalfSplit;
  const at::Tensor a = split ? x.slice(3, 0, rotary / 2) : x.slice(3, 0, rotary, 2);
  const at::Tensor b = split ? x.slice(3, rotary / 2, rotary) : x.slice(3, 1, rotary, 2);
  const at::Tensor first = a * cos - b * sin;
  const at::Tensor second = b * cos + a * sin;
  const at::Tensor pairs =
      split ? at::cat({first, second}, 3) : at::stack({first, second}, 4).flatten(3);
  return at::cat({pairs, x.slice(3, rotary)}, 3);
}

void check_rope(const Implementation& implementation,
                const at::Tensor& x_BTSE,
                const kernels::RopeSpec& spec) {
  const at::ScalarType dtype = x_BTSE.scalar_type();
  const kernels::RopeTable table =
      kernels::rope_table(spec, x_BTSE.size(1), sum_dtype(dtype), implementation.device);
  for (const RopeDirection direction : {RopeDirection::kForward, RopeDirection::kInverse}) {
    CAPTURE(x_BTSE.sizes(), spec.rotary_dim, static_cast<int>(spec.layout),
            static_cast<int>(direction));
    const at::Tensor expected =
        rotated(x_BTSE, spec, table, direction == RopeDirection::kForward ? 1.0 : -1.0);
    at::Tensor x = x_BTSE;
    implementation.rope(x, spec, table, direction);
    REQUIRE(relative_error(x, expected) <= tolerance(dtype));
  }
}

/// For implementations that have RoPE: each layout, and widths by packs of 16 bytes, by single
/// pairs, and of a part of the head.
void for_each_rope(
    const std::function<void(const Implementation&, at::ScalarType, const kernels::RopeSpec&)>&
        test) {
  for_each_implementation([&](const Implementation& implementation, at::ScalarType dtype) {
    if (!implementation.rope) {
      SUCCEED("has no RoPE");
      return;
    }
    for (const RopeLayout layout : {RopeLayout::kHalfSplit, RopeLayout::kAdjacentPairs}) {
      for (const int64_t rotary : {2, 6, 32, 64}) {
        kernels::RopeSpec spec;
        spec.rotary_dim = rotary;
        spec.layout = layout;
        test(implementation, dtype, spec);
      }
    }
  });
}

}  // namespace

TEST_CASE("apply_rope_ rotates by position and back", "[kernels][rope]") {
  for_each_rope([](const Implementation& implementation, at::ScalarType dtype,
                   const kernels::RopeSpec& spec) {
    const std::vector<std::vector<int64_t>> sizes = {{1, 1, 1, 64}, {2, 37, 3, 64}, {1, 5, 2, 67}};
    for (const std::vector<int64_t>& size : sizes) {
      check_rope(implementation, normal(size, 81, dtype, implementation.device), spec);
    }
  });
}

TEST_CASE("apply_rope_ rotates a part of wider heads, at any alignment", "[kernels][rope]") {
  for_each_rope([](const Implementation& implementation, at::ScalarType dtype,
                   const kernels::RopeSpec& spec) {
    for (const int64_t begin : {0, 1, 8}) {
      const at::Tensor wide = normal({2, 9, 5, 80}, 82, dtype, implementation.device);
      const at::Tensor before = wide.clone();
      check_rope(implementation, wide.slice(3, begin, begin + 64).slice(2, 1, 5, 2), spec);
      REQUIRE(at::equal(wide.select(2, 0), before.select(2, 0)));
      REQUIRE(at::equal(wide.slice(3, begin + 64), before.slice(3, begin + 64)));
    }
  });
}
