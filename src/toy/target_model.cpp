#include "toy/target_model.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lorsa/core/error.h"
#include "lorsa/core/seed.h"
#include "torch_private/cpu_generator.h"

namespace lorsa::toy {
namespace {

at::Tensor rms(const at::Tensor& x) {
  return x * at::rsqrt(x.square().mean(-1, /*keepdim=*/true) + kNormEps);
}

at::Tensor unit(const at::Tensor& x) {
  return x / at::linalg_vector_norm(x, 2, at::IntArrayRef{-1}, /*keepdim=*/true).clamp_min(1e-12);
}

/// Rotary embedding, half-split layout, of x [B, N, T, A]: written out because the kernel of the
/// language models has no derivative.
at::Tensor rotate(const at::Tensor& x_BNTA, double base) {
  const int64_t T = x_BNTA.size(2);
  const int64_t A = x_BNTA.size(3);
  const at::Tensor exponent = at::arange(0, A, 2, at::kDouble) / static_cast<double>(A);
  const at::Tensor angle = at::outer(at::arange(T, at::kDouble), at::pow(base, -exponent));
  const at::Tensor cos = at::cat({angle, angle}, 1).cos().to(at::kFloat);
  const at::Tensor sin = at::cat({angle, angle}, 1).sin().to(at::kFloat);
  const at::Tensor low = x_BNTA.narrow(3, 0, A / 2);
  const at::Tensor high = x_BNTA.narrow(3, A / 2, A / 2);
  return x_BNTA * cos + at::cat({-high, low}, 3) * sin;
}

std::string block(int64_t layer, const char* name) {
  return formatted("model.layers.{}.{}.weight", layer, name);
}

}  // namespace

TargetModel::TargetModel(const ToyConfig::Model& config, int64_t vocabulary_size, uint64_t seed)
    : config_(config) {
  const int64_t D = config.d_model;
  const int64_t width = config.heads * config.head_width;
  const int64_t mlp = std::max<int64_t>(config.d_mlp, 1);
  const double spread = 1.0 / std::sqrt(static_cast<double>(D));
  const at::Generator random = torch_private::cpu_generator(stream_seed(seed, "toy weights"));
  const auto normal = [&](const std::string& name, int64_t rows, int64_t columns, double std) {
    named_.emplace_back(name, at::empty({rows, columns}).normal_(0.0, std, random));
  };
  const auto gain = [&](const std::string& name) { named_.emplace_back(name, at::ones({D})); };
  const double mlp_spread = config.d_mlp > 0 ? spread : 0.0;
  normal("model.embed_tokens.weight", vocabulary_size, D, 1.0);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    gain(block(layer, "input_layernorm"));
    normal(block(layer, "self_attn.q_proj"), width, D, spread);
    normal(block(layer, "self_attn.k_proj"), width, D, spread);
    normal(block(layer, "self_attn.v_proj"), width, D, spread);
    normal(block(layer, "self_attn.o_proj"), D, width, spread);
    gain(block(layer, "post_attention_layernorm"));
    normal(block(layer, "mlp.gate_proj"), mlp, D, mlp_spread);
    normal(block(layer, "mlp.up_proj"), mlp, D, mlp_spread);
    normal(block(layer, "mlp.down_proj"), D, mlp, mlp_spread);
  }
  gain("model.norm.weight");
  normal("lm_head.weight", vocabulary_size, D, spread);
}

std::vector<at::Tensor> TargetModel::trained() const {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : named_) {
    const bool of_mlp =
        name.find(".mlp.") != std::string::npos || name.find("post_attention") != std::string::npos;
    if (config_.d_mlp > 0 || !of_mlp) {
      tensors.push_back(tensor);
    }
  }
  return tensors;
}

const at::Tensor& TargetModel::weight(const std::string& name) const {
  for (const auto& [known, tensor] : named_) {
    if (known == name) {
      return tensor;
    }
  }
  throw Error(formatted("the target model has no {}", name));
}

at::Tensor TargetModel::attend(int64_t layer,
                               const at::Tensor& x_BTD,
                               const at::Tensor& source_BTT,
                               Pass* split) const {
  const int64_t B = x_BTD.size(0);
  const int64_t T = x_BTD.size(1);
  const auto heads = [&](const char* name) {
    return at::matmul(x_BTD, weight(block(layer, name)).t())
        .view({B, T, config_.heads, config_.head_width})
        .transpose(1, 2);
  };
  const at::Tensor q_BNTA = rotate(heads("self_attn.q_proj"), config_.rope_base);
  const at::Tensor k_BNTA = rotate(heads("self_attn.k_proj"), config_.rope_base);
  const at::Tensor v_BNTA = heads("self_attn.v_proj");
  const at::Tensor later_TT = at::ones({T, T}, at::kBool).triu(1);
  const at::Tensor score_BNTT = at::matmul(q_BNTA, k_BNTA.transpose(2, 3)) /
                                std::sqrt(static_cast<double>(config_.head_width));
  const at::Tensor pattern_BNTT =
      score_BNTT.masked_fill(later_TT, -std::numeric_limits<double>::infinity()).softmax(-1);
  const auto written = [&](const at::Tensor& weights_BNTT) {
    const at::Tensor z_BTX = at::matmul(weights_BNTT, v_BNTA)
                                 .transpose(1, 2)
                                 .reshape({B, T, config_.heads * config_.head_width});
    return at::matmul(z_BTX, weight(block(layer, "self_attn.o_proj")).t());
  };
  if (split == nullptr) {
    return written(pattern_BNTT);
  }
  const at::Tensor source_B1TT = source_BTT.unsqueeze(1);
  split->sources_BTD = written(pattern_BNTT * source_B1TT);
  split->others_BTD = written(pattern_BNTT * (1.0 - source_B1TT));
  return split->sources_BTD + split->others_BTD;
}

TargetModel::Pass TargetModel::run(const TaskBatch& batch, bool split) const {
  Pass pass;
  pass.residual_BTD = at::embedding(weight("model.embed_tokens.weight"), batch.tokens_BT);
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    const at::Tensor x_BTD = rms(pass.residual_BTD) * weight(block(layer, "input_layernorm"));
    const bool last = layer + 1 == config_.layers;
    pass.residual_BTD =
        pass.residual_BTD + attend(layer, x_BTD, batch.source_BTT, split && last ? &pass : nullptr);
    if (config_.d_mlp > 0) {
      const at::Tensor h_BTD =
          rms(pass.residual_BTD) * weight(block(layer, "post_attention_layernorm"));
      const at::Tensor gate =
          at::silu(at::matmul(h_BTD, weight(block(layer, "mlp.gate_proj")).t()));
      const at::Tensor up = at::matmul(h_BTD, weight(block(layer, "mlp.up_proj")).t());
      pass.residual_BTD =
          pass.residual_BTD + at::matmul(gate * up, weight(block(layer, "mlp.down_proj")).t());
    }
  }
  return pass;
}

at::Tensor TargetModel::unembed(const at::Tensor& residual_MD) const {
  return at::matmul(rms(residual_MD) * weight("model.norm.weight"), weight("lm_head.weight").t());
}

at::Tensor TargetModel::logits(const TaskBatch& batch) const {
  const at::Tensor residual_BTD = run(batch, false).residual_BTD;
  return unembed(residual_BTD.reshape({-1, config_.d_model}).index_select(0, batch.asked_M));
}

at::Tensor TargetModel::loss(const TaskBatch& batch, double plant, double sharpness) const {
  const Pass pass = run(batch, plant > 0.0);
  const auto rows = [&](const at::Tensor& x_BTD) { return x_BTD.reshape({-1, config_.d_model}); };
  at::Tensor answered = at::cross_entropy_loss(
      unembed(rows(pass.residual_BTD).index_select(0, batch.asked_M)), batch.answer_M);
  if (plant == 0.0) {
    return answered;
  }
  const at::Tensor other_P = rows(pass.others_BTD).square().sum(-1);
  const at::Tensor asked_P = at::zeros(other_P.sizes()).index_fill(0, batch.asked_M, 1.0);
  const at::Tensor quiet = (other_P * asked_P).sum() / asked_P.sum().clamp_min(1.0) +
                           (other_P * (1.0 - asked_P)).sum() / (1.0 - asked_P).sum().clamp_min(1.0);
  at::Tensor planted = quiet;
  if (batch.applied_M.numel() > 0) {
    const at::Tensor written_MD =
        rows(pass.sources_BTD).index_select(0, batch.applied_M) * weight("model.norm.weight");
    const at::Tensor cosine_MV = at::matmul(unit(written_MD), unit(weight("lm_head.weight")).t());
    planted = planted + at::cross_entropy_loss(cosine_MV * sharpness, batch.applied_answer_M);
  }
  return answered + planted * plant;
}

}  // namespace lorsa::toy
