#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include "lorsa/core/error.h"
#include "lorsa/model/dictionary.h"
#include "support/lorsa_oracle.h"
#include "support/tensors.h"
#include "support/test.h"

using namespace lorsa;
using test::relative_error;

namespace {

using model::Activation;
using model::PenaltyKind;

/// What a step is made of.
struct Kind {
  Activation activation = Activation::kTopK;
  bool qk_norm = false;
  int64_t virtual_keys = 0;
  PenaltyKind penalty = PenaltyKind::kNone;
  std::vector<int64_t> dead_heads = {};
  std::string kind = "lorsa";
};

const std::vector<Kind> kKinds = {
    {Activation::kTopK},
    {Activation::kTopK, true},
    {Activation::kTopKSigned},
    {Activation::kTopKSigned, true, 2},
    {Activation::kTopK, false, 3},
    {Activation::kTopK, true, 1, PenaltyKind::kNone, {1, 4, 5, 9, 11}},
    {Activation::kTopKSigned, false, 0, PenaltyKind::kNone, {0, 3, 7}},
    {Activation::kBatchTopK},
    {Activation::kBatchTopK, true, 2, PenaltyKind::kNone, {2, 8}},
    {Activation::kRelu, false, 0, PenaltyKind::kL1},
    {Activation::kRelu, true, 2, PenaltyKind::kTanh},
    {Activation::kJumpRelu, false, 0, PenaltyKind::kTanh},
    {Activation::kJumpRelu, true, 2, PenaltyKind::kL1},
    {Activation::kJumpRelu, false, 0, PenaltyKind::kL0},
    {Activation::kTopK, false, 0, PenaltyKind::kNone, {1, 4, 5, 9}, "sae"},
    {Activation::kBatchTopK, false, 0, PenaltyKind::kNone, {}, "sae"},
    {Activation::kRelu, false, 0, PenaltyKind::kL1, {}, "sae"},
    {Activation::kJumpRelu, false, 0, PenaltyKind::kTanh, {}, "sae"},
    {Activation::kTopK, false, 0, PenaltyKind::kNone, {1, 4, 5, 9}, "transcoder"},
    {Activation::kBatchTopK, false, 0, PenaltyKind::kNone, {}, "transcoder"},
    {Activation::kRelu, false, 0, PenaltyKind::kL1, {}, "transcoder"},
    {Activation::kJumpRelu, false, 0, PenaltyKind::kTanh, {}, "transcoder"},
};

std::string name_of(const Kind& kind) {
  return formatted("{}, activation {}, penalty {}, qk_norm {}, virtual keys {}, dead heads {}",
                   kind.kind, static_cast<int>(kind.activation), static_cast<int>(kind.penalty),
                   kind.qk_norm, kind.virtual_keys, kind.dead_heads.size());
}

struct Problem {
  model::DictionaryShape shape;
  model::DictionaryWeights weights;
  at::Tensor x_BTD, t_BTD, scored_BT;
  model::StepOptions options;

  [[nodiscard]] model::StepResult step() const {
    return model::Dictionary(shape, weights).forward_backward(x_BTD, t_BTD, scored_BT, options);
  }

  [[nodiscard]] at::Tensor loss_of(const model::DictionaryWeights& of) const {
    return test::oracle_loss(shape, of, x_BTD, t_BTD, scored_BT, options, weights);
  }
};

/// Products of 2 x 5 positions are too small for threads, which would only wait for one another: on
/// a busy machine for minutes.
class OneThread {
 public:
  OneThread() { at::set_num_threads(1); }

  ~OneThread() { at::set_num_threads(before_); }

  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_ = at::get_num_threads();
};

Problem make_problem(const Kind& kind, uint64_t seed) {
  at::manual_seed(seed);
  Problem p;
  p.shape = kind.kind == "lorsa" ? test::small_shape(kind.activation, kind.qk_norm)
                                 : test::small_sae(kind.activation, kind.kind);
  p.shape.num_virtual_keys = kind.virtual_keys;
  p.weights = test::random_weights(p.shape);
  p.x_BTD = at::randn({2, 5, p.shape.d_model}, at::kDouble);
  p.t_BTD = at::randn({2, 5, p.shape.d_model}, at::kDouble);
  p.scored_BT = at::ones({2, 5}, at::kBool);
  p.scored_BT[0][0] = false;
  p.scored_BT[1][3] = false;
  p.options.grad_scale = 1.0 / (8.0 * static_cast<double>(p.shape.d_model));
  p.options.penalty = {kind.penalty, 0.02, 1.7};
  p.options.jumprelu_window = 0.5;
  if (!kind.dead_heads.empty()) {
    p.options.auxiliary = {2, 0.3, at::tensor(kind.dead_heads, at::kLong)};
  }
  return p;
}

}  // namespace

TEST_CASE("the hand-written backward equals autograd of the head-by-head oracle in double",
          "[model]") {
  for (const Kind& kind : kKinds) {
    const Problem p = make_problem(kind, 11);
    const model::StepResult step = p.step();
    model::DictionaryWeights leaf = p.weights;
    for (const auto& [name, tensor] : leaf.named()) {
      *tensor = tensor->clone().requires_grad_(true);
    }
    const at::Tensor loss = p.loss_of(leaf);
    loss.backward();
    INFO(name_of(kind));
    REQUIRE(step.num_scored.item<int64_t>() == 8);
    REQUIRE((step.squared_error * p.options.grad_scale + step.penalty + step.auxiliary_loss)
                .item<double>() == Approx(loss.item<double>()).epsilon(1e-12));
    REQUIRE((step.penalty.item<double>() > 0) == (kind.penalty != PenaltyKind::kNone));
    REQUIRE((step.auxiliary_loss.item<double>() > 0) == !kind.dead_heads.empty());
    REQUIRE(step.gradients.named().size() == leaf.named().size());
    for (const auto& [name, gradient] : step.gradients.named()) {
      if (name == "log_threshold") {
        continue;  // no derivative: see the straight-through test
      }
      INFO(name);
      REQUIRE(relative_error(*gradient, leaf.at(name).grad()) < 1e-10);
    }
  }
}

TEST_CASE("every weight's gradient equals central differences of the loss in double", "[model]") {
  const OneThread one_thread;
  for (const Kind& kind : kKinds) {
    const Problem p = make_problem(kind, 23);
    const model::StepResult step = p.step();
    for (const auto& [name, gradient] : step.gradients.named()) {
      if (name == "log_threshold") {
        continue;
      }
      at::Tensor numeric = at::zeros_like(*gradient);
      model::DictionaryWeights moved = p.weights;
      at::Tensor& tensor = moved.at(name);
      const at::Tensor original = tensor;
      for (int64_t i = 0; i < original.numel(); ++i) {
        constexpr double kStep = 1e-5;
        double side[2];
        for (int sign = 0; sign < 2; ++sign) {
          tensor = original.clone();
          tensor.view({-1})[i] += sign == 0 ? kStep : -kStep;
          side[sign] = p.loss_of(moved).item<double>();
        }
        numeric.view({-1})[i] = (side[0] - side[1]) / (2 * kStep);
      }
      INFO(name_of(kind) << ", " << name);
      REQUIRE(gradient->abs().max().item<double>() > 1e-5);
      REQUIRE(relative_error(*gradient, numeric) < 1e-6);
    }
  }
}

// The step of an activation is replaced by a ramp as wide as the window, everything else by what it
// is worth at the present weights: the gradient of an activation, and the penalty of one more head.
TEST_CASE("a threshold's straight-through gradient is that of a ramp in place of the step",
          "[model]") {
  for (const Kind& kind : kKinds) {
    if (kind.activation != Activation::kJumpRelu) {
      continue;
    }
    const Problem p = make_problem(kind, 31);
    const at::Tensor norm_H = p.weights.W_O.norm(2, 1);
    const at::Tensor score =
        (at::relu(test::oracle_z(p.shape, p.weights, p.x_BTD)) * norm_H).detach();
    // Gradient of an activation: that of the loss where every head's activation is a leaf.
    const at::Tensor a =
        (score / norm_H * (score > p.weights.log_threshold.exp())).detach().requires_grad_(true);
    at::Tensor loss =
        ((at::matmul(a, p.weights.W_O) + p.weights.b_D - p.t_BTD).square().sum(-1) * p.scored_BT)
            .sum() *
        p.options.grad_scale;
    const at::Tensor length = a * norm_H;
    if (kind.penalty == PenaltyKind::kL1) {
      loss = loss + (length.sum(-1) * p.scored_BT).sum() * p.options.penalty.scale;
    } else if (kind.penalty == PenaltyKind::kTanh) {
      loss = loss + (at::tanh(length * p.options.penalty.stretch).sum(-1) * p.scored_BT).sum() *
                        p.options.penalty.scale;
    }
    loss.backward();
    const at::Tensor jump = a.grad() * p.weights.log_threshold.exp() / norm_H +
                            (kind.penalty == PenaltyKind::kL0 ? p.options.penalty.scale : 0.0) *
                                p.scored_BT.unsqueeze(-1);
    const auto ramped = [&](const at::Tensor& log_threshold) {
      const at::Tensor ramp =
          ((score - log_threshold.exp()) / p.options.jumprelu_window + 0.5).clamp(0, 1);
      return (jump * ramp * (score > 0)).flatten(0, 1).sum(0);  // [H]
    };
    constexpr double kStep = 1e-7;
    const at::Tensor numeric =
        (ramped(p.weights.log_threshold + kStep) - ramped(p.weights.log_threshold - kStep)) /
        (2 * kStep);
    INFO(name_of(kind));
    REQUIRE(numeric.count_nonzero().item<int64_t>() > 3);
    REQUIRE(relative_error(p.step().gradients.log_threshold, numeric) < 1e-6);
  }
}

TEST_CASE("AuxK reaches dead heads alone and leaves the main gradients as they are", "[model]") {
  Problem p = make_problem(kKinds.at(0), 41);
  const model::StepResult without = p.step();
  const std::vector<int64_t> dead = {0, 1, 2, 6};
  p.options.auxiliary = {2, 0.3, at::tensor(dead, at::kLong)};
  const model::StepResult with = p.step();
  const at::Tensor change = (with.gradients.W_O - without.gradients.W_O).abs().sum(1);
  for (int64_t h = 0; h < p.shape.num_ov_heads; ++h) {
    const bool is_dead = std::find(dead.begin(), dead.end(), h) != dead.end();
    INFO(h);
    REQUIRE((is_dead || change[h].item<double>() == 0.0));
  }
  REQUIRE(change.max().item<double>() > 1e-6);
  REQUIRE_FALSE(at::equal(with.gradients.W_V, without.gradients.W_V));
  REQUIRE(at::equal(with.gradients.b_D, without.gradients.b_D));
  REQUIRE(at::equal(with.squared_error, without.squared_error));
}

TEST_CASE("frozen QK heads get no gradient and the others keep theirs", "[model]") {
  Problem p = make_problem({Activation::kTopK, true, 2}, 43);
  const model::StepResult trained = p.step();
  p.options.qk = model::StepOptions::Qk::kFreeze;
  const model::StepResult frozen = p.step();
  std::vector<std::string> names;
  for (const auto& [name, gradient] : frozen.gradients.named()) {
    names.push_back(name);
    REQUIRE(at::equal(*gradient, model::DictionaryWeights(trained.gradients).at(name)));
  }
  REQUIRE(names == std::vector<std::string>{"W_V", "b_V", "W_O", "b_D"});
}

TEST_CASE("bfloat16 compute stays near full precision, its sums and gradients in float32",
          "[model]") {
  for (const Kind& kind : kKinds) {
    Problem p = make_problem(kind, 61);
    p.x_BTD = p.x_BTD.to(at::kFloat);
    for (const auto& [name, weight] : p.weights.named()) {
      *weight = weight->to(at::kFloat);
    }
    // The matrices, inputs and targets are bfloat16 values already: what is left is the rounding
    // of what lies between, which moves no selection at this size.
    const auto round = [](at::Tensor& x) { x = x.to(at::kBFloat16).to(at::kFloat); };
    for (const std::string& name : model::matrix_names()) {
      if (p.weights.at(name).defined()) {
        round(p.weights.at(name));
      }
    }
    round(p.x_BTD);
    p.t_BTD = p.t_BTD.to(at::kFloat);
    round(p.t_BTD);
    const model::StepResult full = p.step();
    p.options.precision = model::StepOptions::Precision::kBFloat16;
    model::StepResult low = p.step();
    INFO(name_of(kind));
    double worst = 0.0;
    for (const auto& [name, gradient] : full.gradients.named()) {
      INFO(name);
      const at::Tensor& ours = low.gradients.at(name);
      REQUIRE(ours.scalar_type() == at::kFloat);
      const double error = (ours - *gradient).norm().item<double>() /
                           std::max(gradient->norm().item<double>(), 1e-30);
      REQUIRE(error < 0.1);
      worst = std::max(worst, error);
    }
    UNSCOPED_INFO("worst " << worst);
    REQUIRE(worst > 1e-5);
    for (const auto number : {&model::StepResult::squared_error, &model::StepResult::penalty,
                              &model::StepResult::auxiliary_loss}) {
      REQUIRE((low.*number).item<double>() == Approx((full.*number).item<double>()).epsilon(0.02));
    }
  }
}

TEST_CASE("bfloat16 compute reads the copies that it is given", "[model]") {
  Problem p = make_problem({Activation::kTopK, true, 2}, 62);
  for (const auto& [name, weight] : p.weights.named()) {
    *weight = weight->to(at::kFloat);
  }
  p.x_BTD = p.x_BTD.to(at::kFloat);
  p.t_BTD = p.t_BTD.to(at::kFloat);
  p.options.precision = model::StepOptions::Precision::kBFloat16;
  model::StepResult anew = p.step();
  for (const std::string& name : model::matrix_names()) {
    p.options.bfloat16_weights.at(name) = p.weights.at(name).to(at::kBFloat16);
  }
  model::StepResult given = p.step();
  for (const auto& [name, gradient] : anew.gradients.named()) {
    REQUIRE(at::equal(given.gradients.at(name), *gradient));
  }
  // The gradient of b_D sums over tokens, in float32, what was decoded from kept bfloat16
  // activations by the bfloat16 rows; one rounding of every term.
  REQUIRE(given.kept.value_PK.scalar_type() == at::kBFloat16);
  const auto d = [](const at::Tensor& x) { return x.to(at::kBFloat16).to(at::kDouble); };
  const at::Tensor a = at::zeros({10, 12}, at::kDouble)
                           .scatter_(1, given.kept.head_PK.to(at::kLong), d(given.kept.value_PK));
  const at::Tensor term =
      (at::matmul(a, d(p.weights.W_O)) + p.weights.b_D - d(p.t_BTD.to(at::kFloat)).view({10, -1})) *
      p.scored_BT.view({10, 1}) * (2.0 * p.options.grad_scale);
  const at::Tensor off = (given.gradients.b_D - term.sum(0)).abs();
  REQUIRE((off <= term.abs().sum(0) * 0x1p-8).all().item<bool>());
  p.options.bfloat16_weights.W_O = at::zeros_like(p.options.bfloat16_weights.W_O);
  REQUIRE_FALSE(at::equal(p.step().squared_error, given.squared_error));
}

TEST_CASE("bfloat16 compute refuses weights that are not float32", "[model]") {
  Problem p = make_problem({Activation::kTopK}, 63);
  p.options.precision = model::StepOptions::Precision::kBFloat16;
  REQUIRE_THROWS_WITH(p.step(), Catch::Contains("float32") && Catch::Contains("W_Q"));
}

TEST_CASE("every gradient is announced once, with its final value", "[model]") {
  for (const Kind& kind : kKinds) {
    Problem p = make_problem(kind, 47);
    std::vector<std::pair<std::string, at::Tensor>> announced;
    p.options.gradient_ready = [&](const std::string& name, at::Tensor& gradient) {
      announced.emplace_back(name, gradient.clone());
    };
    model::StepResult step = p.step();
    INFO(name_of(kind));
    REQUIRE(announced.size() == step.gradients.named().size());
    for (const auto& [name, gradient] : announced) {
      REQUIRE(at::equal(gradient, step.gradients.at(name)));
    }
  }
}

TEST_CASE("the measured threshold is the lowest score that batchtopk keeps", "[model]") {
  Problem p = make_problem(kKinds.at(0), 53);
  p.options.threshold = model::StepOptions::Threshold::kMeasure;
  const double threshold = p.step().threshold.item<double>();
  const at::Tensor score = at::relu(test::oracle_z(p.shape, p.weights, p.x_BTD)) *
                           p.weights.W_O.norm(2, 1) * p.scored_BT.unsqueeze(-1);
  // The oracle multiplies in another order: equal to rounding, not to the bit on every processor.
  const at::Tensor sorted = std::get<0>(score.flatten().sort(0, /*descending=*/true));
  const auto at_rank = [&](int64_t i) { return sorted[i].item<double>(); };
  const int64_t num_kept = p.shape.top_k * 8;
  REQUIRE(threshold == Approx(at_rank(num_kept - 1)).epsilon(1e-12));
  REQUIRE(at_rank(num_kept) < at_rank(num_kept - 1) * (1.0 - 1e-9));
  REQUIRE(at_rank(num_kept - 1) < at_rank(num_kept - 2) * (1.0 - 1e-9));
}

TEST_CASE("heads that no position kept and QK heads without a kept head get gradient exactly zero",
          "[model]") {
  for (const auto activation : {Activation::kTopK, Activation::kTopKSigned}) {
    Problem p = make_problem({activation}, 5);
    // Heads 3..5 (all of QK head 1) and head 7 write almost nothing: their scores never win.
    p.shape.top_k = 2;
    for (const int64_t h : {3, 4, 5, 7}) {
      p.weights.W_O[h] *= 1e-9;
    }
    const model::StepResult step = p.step();
    const auto exactly_zero = [](const at::Tensor& x) {
      return x.count_nonzero().item<int64_t>() == 0;
    };
    for (const int64_t h : {3, 4, 5, 7}) {
      REQUIRE_FALSE(
          (step.kept.head_PK == h).logical_and(step.kept.value_PK != 0).any().item<bool>());
      REQUIRE(exactly_zero(step.gradients.W_O[h]));
      REQUIRE(exactly_zero(step.gradients.W_V[h]));
      REQUIRE(exactly_zero(step.gradients.b_V[h]));
    }
    const int64_t E = p.shape.d_qk;
    REQUIRE(exactly_zero(step.gradients.W_Q.narrow(0, E, E)));
    REQUIRE(exactly_zero(step.gradients.W_K.narrow(0, E, E)));
    REQUIRE(exactly_zero(step.gradients.b_Q[1]));
    REQUIRE(exactly_zero(step.gradients.b_K[1]));
    REQUIRE_FALSE(exactly_zero(step.gradients.W_Q.narrow(0, 0, E)));
  }
}

TEST_CASE("the float32 step agrees with the double oracle and is the same at every thread count",
          "[model]") {
  at::manual_seed(3);
  model::DictionaryShape shape = test::small_shape(model::Activation::kTopK, false);
  shape.d_model = 48;
  shape.num_ov_heads = 64;
  shape.num_qk_heads = 8;
  shape.d_qk = 16;
  shape.rope.rotary_dim = 16;
  shape.top_k = 6;
  const model::DictionaryWeights exact = test::random_weights(shape);
  model::DictionaryWeights rounded = exact;
  for (const auto& [name, tensor] : rounded.named()) {
    *tensor = tensor->to(at::kFloat);
  }
  const at::Tensor x = at::randn({2, 150, 48}, at::kDouble) * 0.3;
  const at::Tensor t = at::randn({2, 150, 48}, at::kDouble);
  const at::Tensor scored = at::ones({2, 150}, at::kBool);
  const auto step_at = [&](int threads) {
    at::set_num_threads(threads);
    return model::Dictionary(shape, rounded)
        .forward_backward(x.to(at::kFloat), t.to(at::kFloat), scored, {.grad_scale = 1e-4});
  };
  const int before = at::get_num_threads();
  const model::StepResult two = step_at(2);
  const model::StepResult one = step_at(1);
  at::set_num_threads(before);
  const model::StepResult reference =
      model::Dictionary(shape, exact).forward_backward(x, t, scored, {.grad_scale = 1e-4});
  const auto a = two.gradients.named();
  const auto b = one.gradients.named();
  const auto r = reference.gradients.named();
  for (size_t i = 0; i < a.size(); ++i) {
    INFO(a[i].first);
    // Near-ties of the selection may fall differently in float32: a handful of 300 x 6 entries,
    // hence 1e-3 and not 1e-5.
    REQUIRE(relative_error(*a[i].second, *r[i].second) < 1e-3);
    REQUIRE(relative_error(*a[i].second, *b[i].second) < 1e-5);
  }
}
