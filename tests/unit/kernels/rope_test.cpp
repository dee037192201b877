#include "lorsa/kernels/rope.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lorsa/core/error.h"
#include "lorsa/io/safetensors.h"
#include "support/tensors.h"
#include "support/test.h"

using namespace lorsa;
using namespace lorsa::kernels;

namespace {

RopeSpec plain(int64_t rotary_dim, double base) {
  RopeSpec spec;
  spec.rotary_dim = rotary_dim;
  spec.base = base;
  return spec;
}

/// Naive rotation in double from the table's own values.
at::Tensor naive(const at::Tensor& x_BTSE,
                 const RopeSpec& spec,
                 const RopeTable& table,
                 double sign) {
  at::Tensor y = x_BTSE.to(at::kDouble).contiguous().clone();
  const at::Tensor cos = table.cos.to(at::kDouble).contiguous();
  const at::Tensor sin = table.sin.to(at::kDouble).contiguous();
  auto out = y.accessor<double, 4>();
  const auto c = cos.accessor<double, 2>();
  const auto s = sin.accessor<double, 2>();
  const int64_t half = spec.rotary_dim / 2;
  for (int64_t b = 0; b < y.size(0); ++b) {
    for (int64_t t = 0; t < y.size(1); ++t) {
      for (int64_t head = 0; head < y.size(2); ++head) {
        for (int64_t i = 0; i < half; ++i) {
          const bool split = spec.layout == RopeLayout::kHalfSplit;
          const int64_t p = split ? i : 2 * i;
          const int64_t q = split ? i + half : 2 * i + 1;
          const double u = out[b][t][head][p];
          const double v = out[b][t][head][q];
          out[b][t][head][p] = u * c[t][i] - v * sign * s[t][i];
          out[b][t][head][q] = v * c[t][i] + u * sign * s[t][i];
        }
      }
    }
  }
  return y;
}

}  // namespace

TEST_CASE("rope_table has the angles of transformers, rounded to float32 like them", "[kernels]") {
  const io::SafetensorsReader golden(test::golden("kernels/rope.safetensors"));
  RopeSpec linear = plain(10, 10000.0);
  linear.scaling = RopeScaling::kLinear;
  linear.factor = 3.0;
  RopeSpec llama3 = plain(128, 500000.0);
  llama3.scaling = RopeScaling::kLlama3;
  llama3.factor = 8.0;
  const std::vector<std::pair<std::string, RopeSpec>> cases = {
      {"plain", plain(64, 100000.0)}, {"linear", linear}, {"llama3", llama3}};
  for (const auto& [name, spec] : cases) {
    CAPTURE(name);
    const RopeTable table = rope_table(spec, 4096, at::kFloat, at::kCPU);
    const at::Tensor position = golden.read(name + ".position");
    const at::Tensor cos = table.cos.index_select(0, position);
    const at::Tensor sin = table.sin.index_select(0, position);
    REQUIRE(cos.sizes() == golden.shape(name + ".cos"));
    // One unit in the last place of 1. Angles in double would differ by up to 1e-4 at position
    // 4095.
    CHECK((cos - golden.read(name + ".cos")).abs().max().item<float>() <= 1.2e-7f);
    CHECK((sin - golden.read(name + ".sin")).abs().max().item<float>() <= 1.2e-7f);
  }
}

TEST_CASE("apply_rope_ equals the naive rotation for every dtype, layout and direction",
          "[kernels]") {
  at::manual_seed(1);
  for (const auto layout : {RopeLayout::kHalfSplit, RopeLayout::kAdjacentPairs}) {
    for (const auto direction : {RopeDirection::kForward, RopeDirection::kInverse}) {
      for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
        for (const int64_t rotary_dim : {2, 6, 34}) {
          RopeSpec spec = plain(rotary_dim, 50.0);
          spec.layout = layout;
          const auto table_dtype = dtype == at::kBFloat16 ? at::kFloat : dtype;
          const RopeTable table = rope_table(spec, 11, table_dtype, at::kCPU);
          at::Tensor x = at::randn({2, 9, 3, 35}, at::kDouble).to(dtype);
          const at::Tensor expected =
              naive(x, spec, table, direction == RopeDirection::kForward ? 1.0 : -1.0);
          apply_rope_(x, spec, table, direction);
          CAPTURE(dtype, rotary_dim);
          const double tolerance =
              dtype == at::kDouble ? 1e-14 : (dtype == at::kFloat ? 3e-7 : 4e-3);
          CHECK(test::relative_error(x, expected) <= tolerance);
        }
      }
    }
  }
}

TEST_CASE("apply_rope_ works in place on a strided view and leaves its surroundings", "[kernels]") {
  at::manual_seed(2);
  const RopeSpec spec = plain(4, 10.0);
  const RopeTable table = rope_table(spec, 7, at::kFloat, at::kCPU);
  at::Tensor all = at::randn({2, 7, 5, 8});
  const at::Tensor before = all.clone();
  at::Tensor view = all.narrow(2, 1, 3);
  apply_rope_(view, spec, table, RopeDirection::kForward);
  CHECK(test::relative_error(view, naive(before.narrow(2, 1, 3), spec, table, 1.0)) <= 3e-7);
  CHECK(at::equal(all.narrow(2, 0, 1), before.narrow(2, 0, 1)));
  CHECK(at::equal(all.narrow(2, 4, 1), before.narrow(2, 4, 1)));
  CHECK(at::equal(all.narrow(3, 4, 4), before.narrow(3, 4, 4)));
}

TEST_CASE("apply_rope_ inverse undoes forward on sizes that several threads share", "[kernels]") {
  at::manual_seed(3);
  const RopeSpec spec = plain(64, 10000.0);
  const RopeTable table = rope_table(spec, 300, at::kFloat, at::kCPU);
  at::Tensor x = at::randn({2, 300, 9, 64});
  const at::Tensor before = x.clone();
  apply_rope_(x, spec, table, RopeDirection::kForward);
  CHECK(test::relative_error(x, before) > 0.1);
  apply_rope_(x, spec, table, RopeDirection::kInverse);
  CHECK(test::relative_error(x, before) <= 1e-6);
}

TEST_CASE("rope refuses what does not fit", "[kernels]") {
  CHECK_THROWS_AS(rope_table(plain(3, 10.0), 4, at::kFloat, at::kCPU), ShapeError);
  CHECK_THROWS_AS(rope_table(plain(4, -1.0), 4, at::kFloat, at::kCPU), ShapeError);
  const RopeSpec spec = plain(4, 10.0);
  const RopeTable table = rope_table(spec, 4, at::kFloat, at::kCPU);
  at::Tensor longer = at::zeros({1, 5, 1, 4});
  CHECK_THROWS_AS(apply_rope_(longer, spec, table, RopeDirection::kForward), ShapeError);
  at::Tensor narrow = at::zeros({1, 4, 1, 2});
  CHECK_THROWS_AS(apply_rope_(narrow, spec, table, RopeDirection::kForward), ShapeError);
  at::Tensor flat = at::zeros({4, 4, 4});
  CHECK_THROWS_AS(apply_rope_(flat, spec, table, RopeDirection::kForward), ShapeError);
}

TEST_CASE("rope turns heads wherever they lie", "[kernels]") {
  const RopeSpec spec = plain(4, 10.0);
  const RopeTable table = rope_table(spec, 5, at::kFloat, at::kCPU);
  const at::Tensor x = at::randn({2, 5, 3, 6});
  at::Tensor expected = x.clone();
  apply_rope_(expected, spec, table, RopeDirection::kForward);
  at::Tensor by_head = x.permute({2, 0, 1, 3}).contiguous().permute({1, 2, 0, 3});
  apply_rope_(by_head, spec, table, RopeDirection::kForward);
  CHECK(at::equal(by_head, expected));
  at::Tensor by_dimension = x.permute({2, 3, 0, 1}).contiguous().permute({2, 3, 0, 1});
  apply_rope_(by_dimension, spec, table, RopeDirection::kForward);
  CHECK(relative_error(by_dimension, expected) < 1e-6);
}
