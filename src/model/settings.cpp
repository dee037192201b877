#include "lorsa/model/settings.h"

#include <algorithm>
#include <cmath>

#include "lorsa/core/error.h"
#include "model/kind.h"
#include "model/selection.h"

namespace lorsa::model {
namespace {

void validate_without_attention(const DictionarySettings& m,
                                const InitConfig& init,
                                StepOptions::Qk qk) {
  LORSA_CHECK(m.num_qk_heads == 0 && m.d_qk == 0 && m.num_virtual_keys == 0 && m.attn_scale == 0.0,
              ConfigError,
              "model.kind: {} has no attention: leave out model.num_qk_heads = {}, model.d_qk = "
              "{}, model.num_virtual_keys = {} and model.attn_scale = {}",
              m.kind, m.num_qk_heads, m.d_qk, m.num_virtual_keys, m.attn_scale);
  LORSA_CHECK(init.qk == QkInit::kRandom, ConfigError,
              "model.kind: {} has no QK heads to start from init.qk: mhsa", m.kind);
  LORSA_CHECK(qk == StepOptions::Qk::kTrain, ConfigError,
              "model.kind: {} has no QK heads that train.freeze: qk could leave", m.kind);
}

}  // namespace

void describe(config::Fields& f, DictionarySettings& m) {
  std::vector<std::pair<std::string, std::string>> names;
  std::string help = "What is trained.";
  for (const KindInfo& kind : kinds()) {
    names.emplace_back(kind.name, kind.name);
    help +=
        formatted(" {}: {}{}", kind.name, kind.help, names.size() == kinds().size() ? "." : ";");
  }
  f.choice<std::string>("kind", m.kind, names, help);
  f.count("num_ov_heads", m.num_ov_heads,
          "OV heads H, each with a one-dimensional output; the features of other kinds.")
      .required()
      .at_least(1);
  f.count("num_qk_heads", m.num_qk_heads, "QK heads S; divides num_ov_heads. For a Lorsa alone.")
      .at_least(0);
  f.count("d_qk", m.d_qk, "Width E of a QK head. For a Lorsa alone.").at_least(0);
  f.count("top_k", m.top_k,
          "OV heads K kept at every position (batchtopk: on average); relu and jumprelu take none.")
      .at_least(0);
  f.choice<Activation>(
      "activation", m.activation, activation_words(),
      "topk keeps the largest relu(z) |W_O| of a position, topk_signed the largest |z| |W_O|, "
      "batchtopk the largest of a batch, jumprelu those above the head's threshold.");
  f.number("attn_scale", m.attn_scale,
           "Divisor of the attention scores; 0 takes the layer's own where d_qk is its head width, "
           "else sqrt(d_qk).")
      .at_least(0);
  f.count("num_virtual_keys", m.num_virtual_keys,
          "Learned keys of every QK head whose value is zero: attention may go to nothing.")
      .between(0, 65536);
}

void validate(const DictionarySettings& m, const InitConfig& init, StepOptions::Qk qk) {
  if (kind_of(m.kind).attends) {
    LORSA_CHECK(m.num_qk_heads >= 1 && m.d_qk >= 1, ConfigError,
                "model.kind: {} needs model.num_qk_heads and model.d_qk, found {}, {}", m.kind,
                m.num_qk_heads, m.d_qk);
    LORSA_CHECK(m.num_ov_heads % m.num_qk_heads == 0, ConfigError,
                "model.num_qk_heads = {} does not divide model.num_ov_heads = {}", m.num_qk_heads,
                m.num_ov_heads);
  } else {
    validate_without_attention(m, init, qk);
  }
  LORSA_CHECK(m.top_k <= m.num_ov_heads, ConfigError,
              "model.top_k = {} exceeds model.num_ov_heads = {}", m.top_k, m.num_ov_heads);
  LORSA_CHECK(!is_sparse(m.activation) || m.top_k >= 1, ConfigError,
              "model.top_k = 0: model.activation needs the number of heads to keep");
}

DictionaryShape shape_of(const DictionarySettings& settings,
                         int64_t d_model,
                         const kernels::Mhsa* layer) {
  DictionaryShape shape;
  shape.kind = settings.kind;
  shape.d_model = d_model;
  shape.num_ov_heads = settings.num_ov_heads;
  shape.num_qk_heads = settings.num_qk_heads;
  shape.d_qk = settings.d_qk;
  shape.top_k = settings.top_k;
  shape.activation = settings.activation;
  if (!kind_of(settings.kind).attends) {
    validate(shape);
    return shape;
  }
  LORSA_CHECK(layer != nullptr, ConfigError,
              "model.kind: {} stands for an attention layer, and needs its weights", settings.kind);
  const bool same_width = shape.d_qk == layer->head_width();
  const double standard =
      same_width ? layer->attn_scale : std::sqrt(static_cast<double>(shape.d_qk));
  shape.attn_scale = settings.attn_scale > 0 ? settings.attn_scale : standard;
  shape.qk_norm = layer->q_norm.defined();
  shape.qk_norm_eps = layer->qk_norm_eps;
  shape.num_virtual_keys = settings.num_virtual_keys;
  shape.rope = layer->rope;
  if (!same_width && shape.rope.rotary_dim > 0) {
    // A layer that rotates whole heads gets a Lorsa that does; partial rotary keeps its width as
    // far as it fits.
    const bool whole = layer->rope.rotary_dim == layer->head_width();
    shape.rope.rotary_dim =
        (whole ? shape.d_qk : std::min(layer->rope.rotary_dim, shape.d_qk)) / 2 * 2;
  }
  validate(shape);
  return shape;
}

}  // namespace lorsa::model
