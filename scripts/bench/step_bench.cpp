// Times one training step of this library against the same model written with torch autograd and
// dense decode.
//
// Both run in this process, in turn, on the same batch, weights and thread count: forward, loss,
// backward and a fused Adam (LibTorch's own for the dense model). Prints medians and the ratio
// dense / lorsa; see scripts/bench/step.sh.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "lorsa/kernels/adam.h"
#include "lorsa/kernels/rope.h"
#include "lorsa/model/lorsa.h"
#include "lorsa/train/state.h"

namespace {

using lorsa::model::Lorsa;
using lorsa::model::LorsaShape;
using lorsa::model::LorsaWeights;

struct Options {
  int64_t d_model = 576, num_ov_heads = 2304, num_qk_heads = 36, d_qk = 64, top_k = 32,
          positions = 256, batch = 4;
  int64_t repeats = 15;
  std::vector<int> threads = {1, 2};
  std::string out;
};

struct Batch {
  at::Tensor x_BTD, t_BTD, scored_BT;
};

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

LorsaWeights random_weights(const LorsaShape& shape) {
  LorsaWeights w;
  const auto normal = [&](const char* name, double scale) {
    return at::randn(lorsa::model::weight_shape(shape, name)) * scale;
  };
  const double d = 1.0 / std::sqrt(static_cast<double>(shape.d_model));
  w.W_Q = normal("W_Q", d);
  w.W_K = normal("W_K", d);
  w.W_V = normal("W_V", d);
  w.W_O = normal("W_O", d);
  w.b_Q = normal("b_Q", 0.01);
  w.b_K = normal("b_K", 0.01);
  w.b_V = normal("b_V", 0.01);
  w.b_D = normal("b_D", 0.01);
  return w;
}

// The library's step as the trainer takes it.
class SparseStep {
 public:
  SparseStep(const LorsaShape& shape, const LorsaWeights& weights)
      : lorsa_(shape, copy(weights)), optimizer_(lorsa::train::fresh_optimizer(lorsa_.weights())) {}

  double run(const Batch& batch) {
    const double scale = 1.0 / static_cast<double>(batch.t_BTD.numel());
    lorsa::model::StepResult step =
        lorsa_.forward_backward(batch.x_BTD, batch.t_BTD, batch.scored_BT, {.grad_scale = scale});
    double square = 0.0;
    const auto gradients = step.gradients.named();
    for (const auto& [name, gradient] : gradients) {
      square += lorsa::kernels::squared_norm(*gradient);
    }
    lorsa::kernels::AdamHyper hyper;
    hyper.learning_rate = 1e-6;
    hyper.step = ++optimizer_.steps;
    const auto weights = lorsa_.weights().named();
    const auto first = optimizer_.first_moment.named();
    const auto second = optimizer_.second_moment.named();
    for (size_t i = 0; i < weights.size(); ++i) {
      lorsa::kernels::adam_step_(
          *weights[i].second, *gradients[i].second, *first[i].second, *second[i].second, hyper);
    }
    return step.squared_error * scale + 0.0 * square;
  }

 private:
  static LorsaWeights copy(const LorsaWeights& weights) {
    LorsaWeights out = weights;
    for (const auto& [name, tensor] : out.named()) {
      *tensor = tensor->clone();
    }
    return out;
  }

  Lorsa lorsa_;
  lorsa::train::OptimizerState optimizer_;
};

// The same model as a PyTorch user writes it: SDPA, torch.topk, a scattered mask, a dense decode,
// autograd, fused Adam.
class DenseAutogradStep {
 public:
  DenseAutogradStep(const LorsaShape& shape, const LorsaWeights& weights)
      : shape_(shape), weights_(weights) {
    for (const auto& [name, tensor] : weights_.named()) {
      *tensor = tensor->clone().requires_grad_(true);
      parameters_.push_back(*tensor);
      first_.push_back(at::zeros_like(*tensor));
      second_.push_back(at::zeros_like(*tensor));
      steps_.push_back(at::zeros({}));
    }
  }

  double run(const Batch& batch) {
    const int64_t B = batch.x_BTD.size(0), T = batch.x_BTD.size(1);
    const auto heads = [&](const at::Tensor& weight, const at::Tensor& bias) {
      return at::linear(batch.x_BTD, weight, bias.flatten())
          .view({B, T, shape_.num_qk_heads, -1})
          .transpose(1, 2);
    };
    const at::Tensor q = rotate(heads(weights_.W_Q, weights_.b_Q), T);
    const at::Tensor k = rotate(heads(weights_.W_K, weights_.b_K), T);
    const at::Tensor v = heads(weights_.W_V, weights_.b_V);
    const at::Tensor attended = at::scaled_dot_product_attention(
        q, k, v, {}, 0.0, /*is_causal=*/true, 1.0 / shape_.attn_scale);
    const at::Tensor z = attended.transpose(1, 2).reshape({B, T, shape_.num_ov_heads});
    const at::Tensor a = at::relu(z);
    at::Tensor mask;
    {
      const at::NoGradGuard no_grad;
      const at::Tensor score = a * weights_.W_O.norm(2, 1);
      mask =
          at::zeros_like(score).scatter_(-1, std::get<1>(at::topk(score, shape_.top_k, -1)), 1.0);
    }
    const at::Tensor y = at::linear(a * mask, weights_.W_O.t(), weights_.b_D);
    const at::Tensor loss = at::mse_loss(y, batch.t_BTD);
    for (at::Tensor& parameter : parameters_) {
      parameter.mutable_grad() = at::Tensor();
    }
    loss.backward();
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> gradients;
    for (const at::Tensor& parameter : parameters_) {
      gradients.push_back(parameter.grad());
    }
    for (at::Tensor& step : steps_) {
      step.add_(1);
    }
    at::_fused_adam_(parameters_,
                     gradients,
                     first_,
                     second_,
                     {},
                     steps_,
                     1e-6,
                     0.9,
                     0.999,
                     0.0,
                     1e-8,
                     false,
                     false);
    return loss.item<double>();
  }

 private:
  at::Tensor rotate(const at::Tensor& x_BSTE, int64_t T) {
    if (!table_.cos.defined()) {
      table_ = lorsa::kernels::rope_table(shape_.rope, T, at::kFloat, at::kCPU);
      table_.cos = at::cat({table_.cos, table_.cos}, -1);
      table_.sin = at::cat({table_.sin, table_.sin}, -1);
    }
    const auto halves = x_BSTE.chunk(2, -1);
    return x_BSTE * table_.cos + at::cat({-halves[1], halves[0]}, -1) * table_.sin;
  }

  LorsaShape shape_;
  LorsaWeights weights_;
  lorsa::kernels::RopeTable table_;
  std::vector<at::Tensor> parameters_, first_, second_, steps_;
};

nlohmann::json compare(const Options& o, int threads) {
  at::set_num_threads(threads);
  at::manual_seed(0);
  LorsaShape shape;
  shape.d_model = o.d_model;
  shape.num_ov_heads = o.num_ov_heads;
  shape.num_qk_heads = o.num_qk_heads;
  shape.d_qk = o.d_qk;
  shape.top_k = o.top_k;
  shape.attn_scale = std::sqrt(static_cast<double>(o.d_qk));
  shape.rope.rotary_dim = o.d_qk;
  const LorsaWeights weights = random_weights(shape);
  Batch batch;
  batch.x_BTD = at::randn({o.batch, o.positions, o.d_model});
  batch.t_BTD = at::randn({o.batch, o.positions, o.d_model});
  batch.scored_BT = at::ones({o.batch, o.positions}, at::kBool);
  SparseStep sparse(shape, weights);
  DenseAutogradStep dense(shape, weights);
  const double sparse_loss = sparse.run(batch);
  const double dense_loss = dense.run(batch);
  if (!(std::abs(sparse_loss - dense_loss) < 1e-4 * dense_loss)) {
    throw std::runtime_error("the two implementations disagree: loss " +
                             std::to_string(sparse_loss) + " and " + std::to_string(dense_loss));
  }
  std::vector<double> sparse_s, dense_s;
  for (int64_t i = 0; i < o.repeats; ++i) {
    const double start = seconds();
    sparse.run(batch);
    const double middle = seconds();
    dense.run(batch);
    sparse_s.push_back(middle - start);
    dense_s.push_back(seconds() - middle);
  }
  const auto tokens = static_cast<double>(o.batch * o.positions);
  const double ratio = median(dense_s) / median(sparse_s);
  std::printf("%7d  %14.0f  %14.0f  %6.2f\n",
              threads,
              tokens / median(sparse_s),
              tokens / median(dense_s),
              ratio);
  std::fflush(stdout);
  return {{"threads", threads},
          {"lorsa_tokens_per_s", tokens / median(sparse_s)},
          {"dense_autograd_tokens_per_s", tokens / median(dense_s)},
          {"ratio", ratio}};
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app(
      "Times a training step against torch autograd with dense decode (medians, interleaved).");
  app.add_option("--d-model", o.d_model)->capture_default_str();
  app.add_option("--ov-heads", o.num_ov_heads)->capture_default_str();
  app.add_option("--qk-heads", o.num_qk_heads)->capture_default_str();
  app.add_option("--d-qk", o.d_qk)->capture_default_str();
  app.add_option("--top-k", o.top_k)->capture_default_str();
  app.add_option("--positions", o.positions)->capture_default_str();
  app.add_option("--batch", o.batch)->capture_default_str();
  app.add_option("--repeats", o.repeats)->capture_default_str();
  app.add_option("--threads", o.threads)->capture_default_str();
  app.add_option("--out", o.out, "Write the figures as JSON");
  CLI11_PARSE(app, argc, argv);
  std::printf(
      "step: D %ld, H %ld, S %ld x %ld, K %ld, T %ld, %ld sequences, float32, %ld repeats\n",
      o.d_model,
      o.num_ov_heads,
      o.num_qk_heads,
      o.d_qk,
      o.top_k,
      o.positions,
      o.batch,
      o.repeats);
  std::printf("threads  lorsa tokens/s  dense tokens/s   ratio\n");
  nlohmann::json all = nlohmann::json::array();
  for (const int threads : o.threads) {
    all.push_back(compare(o, threads));
  }
  if (!o.out.empty()) {
    std::ofstream(o.out) << all.dump(2) << '\n';
  }
  return 0;
}
