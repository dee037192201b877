#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>

#include "lorsa/data/cache_writer.h"
#include "lorsa/kernels/mhsa.h"

namespace lorsa::test {

/// A random attention layer: D 20, 3 heads of 8, one key head, full rotary.
inline kernels::Mhsa tiny_attention() {
  at::manual_seed(41);
  kernels::Mhsa layer;
  layer.W_Q = at::randn({3, 20, 8}) * 0.3;
  layer.W_K = at::randn({1, 20, 8}) * 0.3;
  layer.W_V = at::randn({1, 20, 8}) * 0.3;
  layer.W_O = at::randn({3, 8, 20}) * 0.3;
  layer.attn_scale = std::sqrt(8.0);
  layer.rope.rotary_dim = 8;
  return layer;
}

/// What a cache says of its origin.
inline data::Manifest tiny_plan(int64_t d_model, int64_t context_length) {
  data::Manifest plan;
  plan.model_name = "tiny";
  plan.architecture = "LlamaForCausalLM";
  plan.weights_sha256 = "0000";
  plan.site.layer = 1;
  plan.input_convention = "rms_normalized";
  plan.dtype = data::StoreDtype::kFloat32;
  plan.context_length = context_length;
  plan.d_model = d_model;
  plan.packing = "pack";
  plan.unscored_ids = {0};
  plan.config_yaml = "tiny: true\n";
  return plan;
}

/// How a cache keeps its activations.
struct Storage {
  data::StoreDtype dtype = data::StoreDtype::kFloat32;
  data::StoreMode store = data::StoreMode::kInputAndTarget;
};

/// Writes `num_rows` rows of 16 random positions, every fifth row held out, always the same.
/// Targets are by tiny_attention(), those of an MLP relu(x W) V of 30 hidden units.
inline void write_tiny_cache(const std::filesystem::path& folder,
                             int64_t num_rows,
                             Component component = Component::kAttention,
                             const Storage& storage = {},
                             int64_t lowest_token = 1) {
  const kernels::Mhsa layer = tiny_attention();
  data::Manifest plan = tiny_plan(20, 16);
  plan.site.component = component;
  plan.dtype = storage.dtype;
  plan.store = storage.store;
  data::CacheWriter writer(folder, plan, layer, 8);
  data::RowBlock rows;
  rows.input_BTD = at::randn({num_rows, 16, 20});
  rows.tokens_BT = at::randint(lowest_token, 90, {num_rows, 16}, at::kInt);
  rows.tokens_BT.select(1, 0).zero_();
  rows.target_BTD = component == Component::kAttention
                        ? kernels::mhsa_forward(layer, rows.input_BTD)
                        : at::matmul(at::matmul(rows.input_BTD, at::randn({20, 30}) * 0.3).relu(),
                                     at::randn({30, 20}) * 0.3);
  rows.scored_BT = rows.tokens_BT != 0;
  for (int64_t row = 0; row < num_rows; ++row) {
    rows.document.push_back(row);
    rows.heldout.push_back(row % 5 == 4 ? 1 : 0);
  }
  writer.append(rows);
  writer.finish();
}

}  // namespace lorsa::test
