#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <vector>

#include "lorsa/core/error.h"
#include "lorsa/kernels/adam.h"
#include "lorsa/kernels/rope.h"
#include "lorsa/model/dictionary.h"
#include "lorsa/train/state.h"

// The two implementations that step_bench.cpp compares.

namespace lorsa::bench {

using model::Dictionary;
using model::DictionaryShape;
using model::DictionaryWeights;

struct Batch {
  at::Tensor x_BTD, t_BTD, scored_BT;
  int64_t num_scored = 0;

  /// Of a squared error summed over scored positions, for the mean.
  [[nodiscard]] double mean_scale() const {
    return 1.0 / static_cast<double>(num_scored * t_BTD.size(2));
  }
};

// The library's step as the trainer takes it: on CUDA in bfloat16.
class SparseStep {
 public:
  SparseStep(const DictionaryShape& shape, const DictionaryWeights& weights)
      : dictionary_(shape, copy(weights)),
        optimizer_(train::fresh_optimizer(dictionary_.weights())) {
    if (weights.W_O.is_cuda()) {
      options_.precision = model::StepOptions::Precision::kBFloat16;
      for (const std::string& name : model::matrix_names()) {
        options_.bfloat16_weights.at(name) = dictionary_.weights().at(name).to(at::kBFloat16);
      }
    }
  }

  double run(const Batch& batch) {
    const double scale = batch.mean_scale();
    options_.grad_scale = scale;
    model::StepResult step =
        dictionary_.forward_backward(batch.x_BTD, batch.t_BTD, batch.scored_BT, options_);
    at::Tensor loss = step.squared_error * scale;
    const auto gradients = step.gradients.named();
    for (const auto& [name, gradient] : gradients) {
      loss = loss + 0.0 * kernels::squared_norm(*gradient);
    }
    const double result = loss.item<double>();
    kernels::AdamHyper hyper;
    hyper.learning_rate = 1e-6;
    hyper.step = ++optimizer_.steps;
    const auto weights = dictionary_.weights().named();
    const auto first = optimizer_.first_moment.named();
    const auto second = optimizer_.second_moment.named();
    for (size_t i = 0; i < weights.size(); ++i) {
      kernels::adam_step_(*weights[i].second, *gradients[i].second, *first[i].second,
                          *second[i].second, hyper, options_.bfloat16_weights.at(weights[i].first));
    }
    kept_ = step.kept;
    return result;
  }

  /// Of the last step.
  [[nodiscard]] const kernels::TopK& kept() const { return kept_; }

 private:
  static DictionaryWeights copy(const DictionaryWeights& weights) {
    DictionaryWeights out = weights;
    for (const auto& [name, tensor] : out.named()) {
      *tensor = tensor->clone();
    }
    return out;
  }

  Dictionary dictionary_;
  train::OptimizerState optimizer_;
  model::StepOptions options_;
  kernels::TopK kept_;
};

// The same model as a PyTorch user writes it: SDPA, torch.topk, a scattered mask, a dense decode,
// autograd, fused Adam; on CUDA what multiplies in bfloat16, as autocast has it.
class DenseAutogradStep {
 public:
  DenseAutogradStep(const DictionaryShape& shape, const DictionaryWeights& weights)
      : shape_(shape), weights_(weights) {
    for (const auto& [name, tensor] : weights_.named()) {
      *tensor = tensor->clone().requires_grad_(true);
      parameters_.push_back(*tensor);
      first_.push_back(at::zeros_like(*tensor));
      second_.push_back(at::zeros_like(*tensor));
      steps_.push_back(at::zeros({}, at::TensorOptions(tensor->device())));
    }
  }

  double run(const Batch& batch) {
    const int64_t B = batch.x_BTD.size(0), T = batch.x_BTD.size(1);
    const auto low = [&](const at::Tensor& x) { return x.is_cuda() ? x.to(at::kBFloat16) : x; };
    const at::Tensor x = low(batch.x_BTD);
    const auto heads = [&](const at::Tensor& weight, const at::Tensor& bias) {
      return at::linear(x, low(weight), low(bias.flatten()))
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
    const at::Tensor y =
        at::linear(a * mask.to(a.scalar_type()), low(weights_.W_O).t(), low(weights_.b_D));
    const at::Tensor error = (y.to(at::kFloat) - batch.t_BTD) * batch.scored_BT.unsqueeze(-1);
    const at::Tensor loss = error.square().sum() * batch.mean_scale();
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
    at::_fused_adam_(parameters_, gradients, first_, second_, {}, steps_, 1e-6, 0.9, 0.999, 0.0,
                     1e-8, false, false);
    return loss.item<double>();
  }

 private:
  at::Tensor rotate(const at::Tensor& x_BSTE, int64_t T) {
    if (!table_.cos.defined()) {
      table_ = kernels::rope_table(shape_.rope, T, at::kFloat, x_BSTE.device());
      table_.cos = at::cat({table_.cos, table_.cos}, -1).to(x_BSTE.scalar_type());
      table_.sin = at::cat({table_.sin, table_.sin}, -1).to(x_BSTE.scalar_type());
    }
    const auto halves = x_BSTE.chunk(2, -1);
    return x_BSTE * table_.cos + at::cat({-halves[1], halves[0]}, -1) * table_.sin;
  }

  DictionaryShape shape_;
  DictionaryWeights weights_;
  kernels::RopeTable table_;
  std::vector<at::Tensor> parameters_, first_, second_, steps_;
};

}  // namespace lorsa::bench
