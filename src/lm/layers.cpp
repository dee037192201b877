#include "lm/layers.h"

#include <ATen/ATen.h>

namespace lorsa::lm {

at::Tensor WeightLoader::tensor(const std::string& name, const std::vector<int64_t>& shape) const {
  return weights_.load(name, shape, placement_.dtype, placement_.device);
}

Linear WeightLoader::linear(const std::string& name, int64_t out, int64_t in, bool has_bias) const {
  const std::string weight = name + ".weight";
  const Linear linear(tensor(weight, {out, in}),
                      has_bias ? tensor(name + ".bias", {out}) : at::Tensor());
  if (linear.is_packed()) {
    weights_.release(weight);
  }
  return linear;
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
