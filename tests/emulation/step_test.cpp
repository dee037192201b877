#include <ATen/ATen.h>

#include <limits>

#include "emulation/emulated_cuda.h"
#include "emulation/grid.h"
#include "lorsa/core/error.h"
#include "model/decoding.h"
#include "support/lorsa_oracle.h"
#include "support/test.h"

// The training step with the CUDA kernels, LibTorch's products and the attention's formula against
// the step of the CPU.

using namespace lorsa;
using model::Activation;
using model::PenaltyKind;

namespace {

/// A step, by what is not its default.
struct Case {
  std::string kind = "lorsa";
  Activation activation = Activation::kTopK;
  bool qk_norm = false;
  int64_t virtual_keys = 0;
  PenaltyKind penalty = PenaltyKind::kNone;
  bool auxiliary = false;
  model::StepOptions::Qk qk = model::StepOptions::Qk::kTrain;
  int64_t top_k = 9;
  bool gathers = false;  ///< in bfloat16, with few kept heads of many QK heads
};

/// Past what a device gathers.
constexpr int64_t kManyHeads = 36;

std::string name_of(const Case& c) {
  return formatted(
      "{}, activation {}, qk_norm {}, virtual keys {}, penalty {}, AuxK {}, frozen QK {}, K {}",
      c.kind, static_cast<int>(c.activation), c.qk_norm, c.virtual_keys,
      static_cast<int>(c.penalty), c.auxiliary, c.qk == model::StepOptions::Qk::kFreeze, c.top_k);
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const auto activation : {Activation::kTopK, Activation::kTopKSigned, Activation::kBatchTopK,
                                Activation::kRelu, Activation::kJumpRelu}) {
    const bool sparse = activation != Activation::kRelu && activation != Activation::kJumpRelu;
    const PenaltyKind penalty = sparse ? PenaltyKind::kNone : PenaltyKind::kTanh;
    cases.push_back({.activation = activation, .penalty = penalty});
    cases.push_back(
        {.activation = activation, .qk_norm = true, .virtual_keys = 2, .penalty = penalty});
    cases.push_back({.kind = "sae", .activation = activation, .penalty = penalty});
    if (sparse) {
      cases.push_back({.activation = activation, .auxiliary = true});
      cases.push_back({.kind = "sae", .activation = activation, .auxiliary = true});
      cases.push_back({.activation = activation, .auxiliary = true, .top_k = kManyHeads});
      cases.push_back(
          {.kind = "sae", .activation = activation, .auxiliary = true, .top_k = kManyHeads});
    }
  }
  cases.push_back({.kind = "transcoder"});
  cases.push_back({.qk = model::StepOptions::Qk::kFreeze});
  cases.push_back({.activation = Activation::kRelu,
                   .qk_norm = true,
                   .penalty = PenaltyKind::kL1,
                   .qk = model::StepOptions::Qk::kFreeze});
  return cases;
}

/// Heads a multiple of 256, as those of all real ones are, a width that goes by packs.
model::DictionaryShape shape_of(const Case& c) {
  model::DictionaryShape shape;
  shape.kind = c.kind;
  shape.d_model = 36;
  shape.num_ov_heads = 256;
  shape.top_k = c.top_k;
  shape.activation = c.activation;
  if (c.kind == "lorsa") {
    shape.num_qk_heads = 4;
    shape.d_qk = 16;
    shape.attn_scale = 4.0;
    shape.qk_norm = c.qk_norm;
    shape.num_virtual_keys = c.virtual_keys;
    shape.rope.rotary_dim = 16;
  }
  if (c.gathers) {
    shape.d_model = 48;
    shape.num_qk_heads = 32;
    shape.top_k = 6;
  }
  return shape;
}

struct Problem {
  model::DictionaryShape shape;
  model::DictionaryWeights weights;
  at::Tensor x_BTD, t_BTD, scored_BT;
  model::StepOptions options;

  explicit Problem(const Case& c) : shape(shape_of(c)) {
    at::manual_seed(31);
    weights = test::random_weights(shape, at::kFloat);
    for (const std::string& name : model::matrix_names()) {
      if (weights.at(name).defined()) {
        weights.at(name).mul_(0.2);  // a model's magnitude
      }
    }
    x_BTD = at::randn({2, 19, shape.d_model});
    t_BTD = at::randn({2, 19, shape.d_model});
    scored_BT = at::ones({2, 19}, at::kBool);
    scored_BT.select(1, 0).fill_(false);
    options.grad_scale = 1e-3;
    options.penalty = {c.penalty, 0.02, 1.7};
    options.qk = c.qk;
    if (c.gathers) {
      options.precision = model::StepOptions::Precision::kBFloat16;
    }
    options.threshold = model::StepOptions::Threshold::kMeasure;
    if (c.auxiliary) {
      // As many as there are to be kept by products.
      options.auxiliary = {c.top_k, 0.3, at::arange(100, 140)};
    }
  }

  [[nodiscard]] model::StepResult step() const {
    return model::Dictionary(shape, weights).forward_backward(x_BTD, t_BTD, scored_BT, options);
  }
};

double distance(const at::Tensor& ours, const at::Tensor& exact) {
  const at::Tensor a = ours.to(at::kDouble);
  const at::Tensor b = exact.to(at::kDouble);
  return ((a - b).norm() / b.norm()).item<double>();
}

}  // namespace

TEST_CASE("a training step on the CUDA path has the gradients of the CPU's", "[emulation][step]") {
  uint64_t order = 0;
  for (const Case& c : all_cases()) {
    INFO(name_of(c));
    const Problem problem(c);
    const model::StepResult exact = problem.step();
    emulation::draw_orders(++order);
    const int64_t launches = emulation::counts().launches;
    const emulation::EmulatedCuda device;
    model::StepResult ours = problem.step();
    // Relu and jumprelu decode through products, and without attention that is all.
    const bool has_kernels = c.kind == "lorsa" || c.penalty == PenaltyKind::kNone;
    REQUIRE((emulation::counts().launches > launches) == has_kernels);
    const auto equals = [](const at::Tensor& number, const at::Tensor& expected) {
      return number.item<double>() == Approx(expected.item<double>()).epsilon(1e-6);
    };
    CHECK(equals(ours.squared_error, exact.squared_error));
    CHECK(equals(ours.penalty, exact.penalty));
    CHECK(equals(ours.auxiliary_loss, exact.auxiliary_loss));
    CHECK(equals(ours.threshold, exact.threshold));
    CHECK(at::equal(ours.active_H, exact.active_H));
    REQUIRE(ours.gradients.named().size() == exact.gradients.named().size());
    for (const auto& [name, gradient] : exact.gradients.named()) {
      INFO(name);
      CHECK(distance(ours.gradients.at(name), *gradient) < 1e-5);
    }
  }
}

TEST_CASE("the number of kept heads decides whether a device gathers", "[emulation][step]") {
  const int64_t most = model::most_gathered_heads(shape_of({}), /*in_bfloat16=*/false);
  CHECK(most >= Case{}.top_k);
  CHECK(most < kManyHeads);
  model::DictionaryShape llama;
  llama.d_model = 4096;
  llama.num_ov_heads = 32768;
  CHECK(model::most_gathered_heads(llama, /*in_bfloat16=*/true) == 256);
}

TEST_CASE("a score that is no number makes the loss none, and is an error when it is asked for",
          "[emulation][step]") {
  for (const int64_t top_k : {int64_t{9}, kManyHeads}) {
    for (const auto activation : {Activation::kTopK, Activation::kTopKSigned}) {
      Problem problem({.kind = "sae", .activation = activation, .top_k = top_k});
      problem.x_BTD[1][3].fill_(std::numeric_limits<double>::quiet_NaN());
      REQUIRE_THROWS_WITH(problem.step(), Catch::Contains("position 22, head 0"));
      const emulation::EmulatedCuda device;
      const model::StepResult step = problem.step();
      CHECK(step.squared_error.isnan().item<bool>());
      CHECK_THROWS_WITH(kernels::check_scores(step.kept.first_invalid),
                        Catch::Contains("position 22, head 0"));
      const at::Tensor head_PK = std::get<0>(step.kept.head_PK.sort(1));
      CHECK(head_PK.ge(0).logical_and(head_PK.lt(256)).all().item<bool>());
      CHECK(head_PK.diff().gt(0).all().item<bool>());
    }
  }
}

TEST_CASE("a training step on the CUDA path in bfloat16 sums W_Q's gradient over query rows",
          "[emulation][step]") {
  for (const Case& c :
       {Case{.gathers = true}, Case{.activation = Activation::kTopKSigned, .gathers = true},
        Case{.qk_norm = true, .virtual_keys = 2, .gathers = true},
        Case{.auxiliary = true, .gathers = true}}) {
    INFO(name_of(c));
    const Problem problem(c);
    const model::StepResult exact = problem.step();
    const emulation::EmulatedCuda device;
    emulation::draw_orders(11);
    model::StepResult ours = problem.step();
    for (const auto& [name, gradient] : exact.gradients.named()) {
      INFO(name);
      // As in tests/gpu/step_test.cpp.
      CHECK(distance(ours.gradients.at(name), *gradient) < 0.2);
    }
    emulation::draw_orders(12);
    const model::StepResult again = problem.step();
    CHECK(at::equal(again.gradients.W_Q, ours.gradients.W_Q));
    CHECK(at::equal(again.gradients.b_Q, ours.gradients.b_Q));
  }
}
