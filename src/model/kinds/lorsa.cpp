// Low-rank sparse attention (arXiv 2504.20938): reads the attention's input and writes its output.
#include <ATen/ATen.h>

#include <cmath>

#include "lorsa/core/error.h"
#include "model/kind.h"

namespace lorsa::model {
namespace {

void random_qk(const DictionaryShape& shape, uint64_t seed, DictionaryWeights& w) {
  // Xavier (Glorot and Bengio 2010) for each head's D x E matrix.
  const double bound = std::sqrt(6.0 / static_cast<double>(shape.d_model + shape.d_qk));
  const std::vector<int64_t> size = weight_shape(shape, "W_Q");
  w.W_Q = at::empty(size).uniform_(-bound, bound, stream(seed, "W_Q"));
  w.W_K = at::empty(size).uniform_(-bound, bound, stream(seed, "W_K"));
  w.b_Q = at::zeros({shape.num_qk_heads, shape.d_qk});
  w.b_K = at::zeros({shape.num_qk_heads, shape.d_qk});
  if (shape.qk_norm) {
    w.q_norm = at::ones({shape.num_qk_heads, shape.d_qk});
    w.k_norm = at::ones({shape.num_qk_heads, shape.d_qk});
  }
}

// The MHSA head that QK head s stands for.
int64_t mhsa_head(const DictionaryShape& shape, const kernels::Mhsa& attention, int64_t s) {
  return s * attention.num_heads() / shape.num_qk_heads;
}

int64_t kv_head(const kernels::Mhsa& attention, int64_t m) {
  return m / (attention.num_heads() / attention.num_kv_heads());
}

void check_fits(const DictionaryShape& shape, const kernels::Mhsa& attention) {
  LORSA_CHECK(shape.d_model == attention.d_model(), ConfigError,
              "init: the Lorsa's d_model = {} differs from the layer's {}", shape.d_model,
              attention.d_model());
  LORSA_CHECK(shape.d_qk == attention.head_width(), ConfigError,
              "init.qk: mhsa needs model.d_qk = the layer's head width; found model.d_qk = {} and "
              "head width {}",
              shape.d_qk, attention.head_width());
  LORSA_CHECK(shape.num_qk_heads >= attention.num_heads(), ConfigError,
              "init.qk: mhsa needs at least as many QK heads as the layer has heads; found "
              "model.num_qk_heads = {} and {} heads",
              shape.num_qk_heads, attention.num_heads());
  LORSA_CHECK(shape.qk_norm == attention.q_norm.defined(), ConfigError,
              "init.qk: mhsa: model.qk_norm is {}, but the layer {} QK norm",
              shape.qk_norm ? "true" : "false", attention.q_norm.defined() ? "has" : "has no");
  LORSA_CHECK(shape.rope == attention.rope && shape.attn_scale == attention.attn_scale, ConfigError,
              "init.qk: mhsa needs the layer's own RoPE and attention scale; found attn_scale = "
              "{}, the layer's is {}",
              shape.attn_scale, attention.attn_scale);
}

void mhsa_qk(const DictionaryShape& shape, const InitSample& sample, DictionaryWeights& w) {
  const kernels::Mhsa& layer = *sample.attention;
  const auto copy_heads = [&](const at::Tensor& weight_NDA, const at::Tensor& bias_NA, bool keys,
                              at::Tensor& weight, at::Tensor& bias) {
    std::vector<at::Tensor> rows, biases;
    for (int64_t s = 0; s < shape.num_qk_heads; ++s) {
      const int64_t m = mhsa_head(shape, layer, s);
      const int64_t source = keys ? kv_head(layer, m) : m;
      rows.push_back(weight_NDA[source].t());
      biases.push_back(bias_NA.defined() ? bias_NA[source] : at::zeros({shape.d_qk}));
    }
    weight = (at::cat(rows) / sample.input_scale).contiguous();
    bias = at::stack(biases).contiguous();
  };
  copy_heads(layer.W_Q, layer.b_Q, false, w.W_Q, w.b_Q);
  copy_heads(layer.W_K, layer.b_K, true, w.W_K, w.b_K);
  if (shape.qk_norm) {
    w.q_norm = layer.q_norm.expand({shape.num_qk_heads, shape.d_qk}).contiguous();
    w.k_norm = layer.k_norm.expand({shape.num_qk_heads, shape.d_qk}).contiguous();
  }
}

void random_ov(const DictionaryShape& shape, uint64_t seed, DictionaryWeights& w) {
  const std::vector<int64_t> size = weight_shape(shape, "W_V");
  w.W_V = at::empty(size).normal_(0.0, 1.0 / std::sqrt(static_cast<double>(shape.d_model)),
                                  stream(seed, "W_V"));
  w.W_O = unit_rows(at::empty(size).normal_(0.0, 1.0, stream(seed, "W_O")));
}

// Top A directions of the centred (x W_V)(W_V)^T over the sample: the orthonormal basis, by
// importance, of what the head reads.
at::Tensor active_directions(const at::Tensor& x_nD, const at::Tensor& value_DA) {
  const at::Tensor read_nA = at::mm(x_nD - x_nD.mean(0), value_DA).to(at::kDouble);
  const at::Tensor value = value_DA.to(at::kDouble);
  // Y = read W_V^T has rank A: with the thin QR W_V = Q R its right singular vectors are Q times
  // those of read R^T.
  const auto [q_DA, r_AA] = at::linalg_qr(value, "reduced");
  const at::Tensor small = at::mm(read_nA, r_AA.t());
  const auto [values, vectors] = at::linalg_eigh(at::mm(small.t(), small), "L");
  return at::mm(q_DA, vectors.flip(1)).to(at::kFloat);
}

void active_subspace_ov(const DictionaryShape& shape,
                        const InitSample& sample,
                        uint64_t seed,
                        DictionaryWeights& w) {
  const kernels::Mhsa& layer = *sample.attention;
  const at::Tensor x_nD =
      sample.input_BTD.reshape({-1, shape.d_model}).index({sample.scored_BT.reshape({-1})});
  const at::Generator random = stream(seed, "active_subspace");
  std::vector<at::Tensor> directions;
  for (int64_t m = 0; m < layer.num_heads(); ++m) {
    directions.push_back(active_directions(x_nD, layer.W_V[kv_head(layer, m)]));
  }
  std::vector<at::Tensor> read, write;
  for (int64_t s = 0; s < shape.num_qk_heads; ++s) {
    const int64_t m = mhsa_head(shape, layer, s);
    const at::Tensor mix_GA =
        at::empty({shape.group(), layer.head_width()}).normal_(0.0, 1.0, random);
    const at::Tensor rows_GD = at::mm(mix_GA, directions[static_cast<size_t>(m)].t());
    read.push_back(rows_GD);
    write.push_back(at::mm(at::mm(rows_GD, layer.W_V[kv_head(layer, m)]), layer.W_O[m]));
  }
  w.W_V = unit_rows(at::cat(read)).contiguous();
  w.W_O = unit_rows(at::cat(write)).contiguous();
}

void start_lorsa(const DictionaryShape& shape,
                 const InitConfig& config,
                 const InitSample& sample,
                 uint64_t seed,
                 DictionaryWeights& w) {
  const bool needs_layer = config.qk == QkInit::kMhsa || config.ov == OvInit::kActiveSubspace;
  LORSA_CHECK(!needs_layer || sample.attention != nullptr, ConfigError,
              "init: mhsa and active_subspace need the layer's own attention, not in this cache");
  LORSA_CHECK(
      config.ov != OvInit::kActiveSubspace || config.qk == QkInit::kMhsa, ConfigError,
      "init.ov: active_subspace follows the copied heads: it needs init.qk: mhsa, found random");
  if (config.qk == QkInit::kMhsa) {
    check_fits(shape, *sample.attention);
    mhsa_qk(shape, sample, w);
  } else {
    random_qk(shape, seed, w);
  }
  if (config.ov == OvInit::kActiveSubspace) {
    active_subspace_ov(shape, sample, seed, w);
  } else {
    random_ov(shape, seed, w);
  }
  w.b_V = at::zeros({shape.num_ov_heads});
}

}  // namespace

const Kind kLorsa = {
    .info = {.name = "lorsa",
             .noun = "a Lorsa",
             .help = "low-rank sparse attention: reads the attention's input and writes its output",
             .reads = Hook::kInput,
             .component = Component::kAttention},
    .attends = true,
    .has_field_names = false,
    .start = start_lorsa,
};

}  // namespace lorsa::model
