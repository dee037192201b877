#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "lm/block.h"
#include "lm/linear.h"
#include "lm/weight_files.h"
#include "lorsa/lm/language_model.h"

namespace lorsa::lm {

/// Where the weights go and which of them are loaded.
struct Placement {
  c10::Device device;
  at::ScalarType dtype;
  int64_t num_layers;
  Head head;
  Component last_component;

  /// Without a head nothing reads what the last block's MLP writes.
  [[nodiscard]] bool has_mlp(int64_t layer) const {
    return head == Head::kLoad || layer + 1 < num_layers || last_component == Component::kMlp;
  }
};

/// Loads one model's tensors to where they are computed with.
class WeightLoader {
 public:
  /// `weights` must outlive it.
  WeightLoader(const WeightFiles& weights, const Placement& placement)
      : weights_(weights), placement_(placement) {}

  [[nodiscard]] const Placement& placement() const { return placement_; }

  [[nodiscard]] at::Tensor tensor(const std::string& name, const std::vector<int64_t>& shape) const;

  /// name.weight [out, in] and, where has_bias, name.bias [out].
  [[nodiscard]] Linear linear(const std::string& name,
                              int64_t out,
                              int64_t in,
                              bool has_bias) const;

  /// name.weight [width] and, for a layer norm, name.bias.
  [[nodiscard]] Norm norm(const std::string& name, const LayerSpec& spec, int64_t width) const;

  /// Queries, keys and values of one tensor name.weight [3 heads A, in] (name.bias) that holds,
  /// head by head, the head's A rows of Q, of K and of V.
  [[nodiscard]] std::array<Linear, 3> heads_of_qkv(const std::string& name,
                                                   int64_t heads,
                                                   int64_t in,
                                                   bool has_bias) const;

 private:
  const WeightFiles& weights_;
  Placement placement_;
};

/// The token embeddings and, unless it is skipped, the unembedding: two tensors or one.
class Vocabulary {
 public:
  /// Names of the two tensors, both [V, D].
  struct Names {
    const char* embedding;
    const char* unembedding;
  };

  Vocabulary(const ModelConfig& config,
             const WeightFiles& weights,
             const Placement& placement,
             const Names& names);

  /// tokens [B, T] -> [B, T, D] in the compute dtype, a tensor of its own.
  [[nodiscard]] at::Tensor embed(const at::Tensor& tokens_BT) const;

  /// Undefined where the head was skipped.
  [[nodiscard]] const at::Tensor& unembedding() const { return unembedding_; }

 private:
  at::ScalarType dtype_;
  at::Tensor embedding_;
  at::Tensor unembedding_;
};

}  // namespace lorsa::lm
