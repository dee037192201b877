#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>

#include "lorsa/data/cache_writer.h"

namespace lorsa::bench {

/// Writes a bfloat16 cache of normal values, of which only the bytes matter: `rows` training rows
/// of T tokens, four shards. The attention is the smallest that the format takes.
inline void write_made_cache(const std::filesystem::path& folder,
                             int64_t rows,
                             int64_t T,
                             int64_t D) {
  constexpr int64_t kRows = 16;
  data::Manifest plan;
  plan.model_name = "random";
  plan.architecture = "LlamaForCausalLM";
  plan.weights_sha256 = "0";
  plan.input_convention = "rms_normalized";
  plan.context_length = T;
  plan.d_model = D;
  plan.packing = "pack";
  plan.config_yaml = "random: true\n";
  kernels::Mhsa attention;
  attention.W_Q = at::randn({1, D, 2});
  attention.W_K = attention.W_V = attention.W_Q;
  attention.W_O = at::randn({1, 2, D});
  data::CacheWriter writer(folder, plan, attention, (rows + 3) / 4);
  // Drawn once and turned for every block: drawing gigabytes takes longer than writing them.
  const at::Tensor input_BTD = at::randn({std::min(rows, kRows), T, D});
  const at::Tensor target_BTD = at::randn_like(input_BTD);
  for (int64_t first = 0; first < rows; first += kRows) {
    const int64_t count = std::min(kRows, rows - first);
    data::RowBlock block;
    block.input_BTD = input_BTD.narrow(0, 0, count).roll(first / kRows, -1);
    block.target_BTD = target_BTD.narrow(0, 0, count).roll(first / kRows, -1);
    block.tokens_BT = at::randint(0, 1000, {count, T}, at::kInt);
    block.scored_BT = at::ones_like(block.tokens_BT, at::kBool);
    block.document.assign(static_cast<size_t>(count), first);
    block.heldout.assign(static_cast<size_t>(count), 0);
    writer.append(block);
  }
  writer.finish();
}

}  // namespace lorsa::bench
