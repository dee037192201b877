#include "lm/weight_loader.h"

#include <ATen/ATen.h>

namespace lorsa::lm {

at::Tensor WeightLoader::tensor(const std::string& name, const std::vector<int64_t>& shape) const {
  return weights_.load(name, shape, placement_.dtype, placement_.device);
}

Linear WeightLoader::linear(const std::string& name, int64_t out, int64_t in, bool has_bias) const {
  const std::string weight = name + ".weight";
  Linear linear(tensor(weight, {out, in}), has_bias ? tensor(name + ".bias", {out}) : at::Tensor());
  if (linear.is_packed()) {
    weights_.release(weight);
  }
  return linear;
}

Norm WeightLoader::norm(const std::string& name, const LayerSpec& spec, int64_t width) const {
  return {tensor(name + ".weight", {width}),
          spec.norm == NormKind::kLayer ? tensor(name + ".bias", {width}) : at::Tensor()};
}

std::array<Linear, 3> WeightLoader::heads_of_qkv(const std::string& name,
                                                 int64_t heads,
                                                 int64_t in,
                                                 bool has_bias) const {
  const std::string weight = name + ".weight";
  const int64_t rows = 3 * in;
  const at::Tensor W_N3AD = tensor(weight, {rows, in}).view({heads, 3, in / heads, in});
  const at::Tensor b_N3A =
      has_bias ? tensor(name + ".bias", {rows}).view({heads, 3, in / heads}) : at::Tensor();
  std::array<Linear, 3> parts;
  for (int64_t part = 0; part < 3; ++part) {
    parts.at(static_cast<size_t>(part)) =
        Linear(W_N3AD.select(1, part).reshape({in, in}),
               has_bias ? b_N3A.select(1, part).reshape({in}) : at::Tensor());
  }
  weights_.release(weight);
  return parts;
}

Vocabulary::Vocabulary(const ModelConfig& config,
                       const WeightFiles& weights,
                       const Placement& placement,
                       const Names& names)
    : dtype_(placement.dtype) {
  const std::vector<int64_t> shape = {config.vocabulary_size, config.d_model};
  if (placement.head == Head::kLoad) {
    unembedding_ = weights.load(config.tied_embeddings ? names.embedding : names.unembedding, shape,
                                placement.dtype, placement.device);
  }
  if (config.tied_embeddings && unembedding_.defined()) {
    embedding_ = unembedding_;
  } else if (placement.num_layers > 0) {
    // A lookup takes a few rows of a table that can be the model's largest tensor. On the CPU the
    // table stays in the file, whatever its dtype; the rows are converted.
    const at::ScalarType dtype =
        placement.device.is_cpu() ? weights.stored_dtype(names.embedding) : placement.dtype;
    embedding_ = weights.load(names.embedding, shape, dtype, placement.device);
  }
}

at::Tensor Vocabulary::embed(const at::Tensor& tokens_BT) const {
  return at::embedding(embedding_, tokens_BT).to(dtype_);
}

}  // namespace lorsa::lm
