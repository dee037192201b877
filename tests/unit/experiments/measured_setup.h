#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <string>

#include "lorsa/data/cache_writer.h"
#include "lorsa/io/json.h"
#include "lorsa/io/safetensors.h"
#include "lorsa/model/checkpoint.h"
#include "lorsa/study/study.h"
#include "support/test.h"
#include "support/tiny_cache.h"

namespace lorsa::test {

inline void save_for_tiny_cache(const std::filesystem::path& folder,
                                const model::Dictionary& dictionary,
                                int64_t layer = 1) {
  model::CheckpointInfo info;
  info.model_name = "tiny";
  info.weights_sha256 = "0000";
  info.site.layer = layer;
  info.input_convention = "rms_normalized";
  model::save_checkpoint(folder, dictionary, info);
}

/// A study of a cache's checkpoints on the CPU.
inline study::Study study_of(const std::filesystem::path& cache,
                             const std::vector<std::filesystem::path>& checkpoints) {
  study::Study study("cpu");
  study.open_cache(cache);
  for (const std::filesystem::path& checkpoint : checkpoints) {
    study.open_checkpoint(checkpoint);
  }
  return study;
}

/// A comparison of two checkpoints.
struct Comparison {
  std::filesystem::path cache;
  study::PassOptions pass = {.batch_sequences = 3, .progress = Progress::Visible::kNo};
};

/// D 20 as tiny_cache.h has it, 4 QK heads with 6 OV heads each, 5 kept.
inline model::Dictionary random_lorsa(uint64_t seed) {
  at::manual_seed(seed);
  model::DictionaryShape shape;
  shape.d_model = 20;
  shape.num_ov_heads = 24;
  shape.num_qk_heads = 4;
  shape.d_qk = 8;
  shape.top_k = 5;
  shape.rope.rotary_dim = 8;
  model::DictionaryWeights w;
  w.W_Q = at::randn({32, 20}) * 0.3;
  w.W_K = at::randn({32, 20}) * 0.3;
  w.b_Q = at::zeros({4, 8});
  w.b_K = at::zeros({4, 8});
  w.W_V = at::randn({24, 20}) * 0.3;
  w.b_V = at::zeros({24});
  w.W_O = at::randn({24, 20}) * 0.3;
  w.b_D = at::zeros({20});
  return model::Dictionary(shape, w);
}

/// A tiny cache with these targets and marks; inputs and tokens are random.
inline void write_cache_of(const std::filesystem::path& folder,
                           const at::Tensor& target_BTD,
                           int64_t heldout_every) {
  data::CacheWriter writer(folder, tiny_plan(target_BTD.size(2), target_BTD.size(1)),
                           tiny_attention(), target_BTD.size(0));
  data::RowBlock rows;
  rows.target_BTD = target_BTD;
  rows.input_BTD = at::randn_like(target_BTD);
  rows.tokens_BT = at::randint(1, 90, target_BTD.sizes().slice(0, 2), at::kInt);
  rows.tokens_BT.select(1, 0).zero_();
  rows.scored_BT = rows.tokens_BT != 0;
  for (int64_t row = 0; row < target_BTD.size(0); ++row) {
    rows.document.push_back(row);
    rows.heldout.push_back(row % heldout_every == heldout_every - 1 ? 1 : 0);
  }
  writer.append(rows);
  writer.finish();
}

/// Cache and checkpoints of scripts/golden/experiments.py: cache, first, second, sae.
struct GoldenMeasures {
  TempDir dir;
  io::SafetensorsReader file{golden("experiments/measures.safetensors")};
  io::Json expected = io::read_json(golden("experiments/measures.json"));

  GoldenMeasures() {
    write_cache();
    save("first", size(0));
    save("second", size(0));
    save("sae", size(1));
  }

  /// K of the Lorsas, K of the SAE, rows to fit on.
  [[nodiscard]] int64_t size(int64_t index) const {
    return file.read("sizes")[index].item<int64_t>();
  }

 private:
  void write_cache() const {
    kernels::Mhsa layer;
    layer.W_Q = file.read("layer.W_Q");
    layer.W_K = file.read("layer.W_K");
    layer.W_V = file.read("layer.W_V");
    layer.W_O = file.read("layer.W_O");
    layer.attn_scale = std::sqrt(static_cast<double>(layer.W_Q.size(2)));
    layer.rope = rope(layer.W_Q.size(2));
    data::RowBlock rows;
    rows.input_BTD = file.read("input");
    rows.target_BTD = file.read("target");
    rows.tokens_BT = file.read("tokens");
    rows.scored_BT = rows.tokens_BT != 0;
    const at::Tensor heldout = file.read("heldout");
    for (int64_t row = 0; row < heldout.size(0); ++row) {
      rows.document.push_back(row);
      rows.heldout.push_back(heldout[row].item<uint8_t>());
    }
    data::CacheWriter writer(dir / "cache",
                             tiny_plan(rows.input_BTD.size(2), rows.input_BTD.size(1)), layer, 12);
    writer.append(rows);
    writer.finish();
  }

  static kernels::RopeSpec rope(int64_t width) {
    kernels::RopeSpec spec;
    spec.rotary_dim = width;
    spec.base = 100.0;
    return spec;
  }

  void save(const std::string& name, int64_t top_k) const {
    const auto read = [&](const char* weight) { return file.read(name + "." + weight); };
    model::DictionaryShape shape;
    model::DictionaryWeights w;
    w.W_V = read("W_V");
    w.b_V = read("b_V");
    w.W_O = read("W_O");
    w.b_D = read("b_D");
    shape.d_model = w.W_V.size(1);
    shape.num_ov_heads = w.W_V.size(0);
    shape.top_k = top_k;
    if (file.contains(name + ".W_Q")) {
      const auto rows_of = [&](const char* weight) {
        return read(weight).transpose(1, 2).reshape({-1, shape.d_model}).contiguous();
      };
      w.W_Q = rows_of("W_Q");
      w.W_K = rows_of("W_K");
      w.b_Q = read("b_Q");
      w.b_K = read("b_K");
      shape.num_qk_heads = w.b_Q.size(0);
      shape.d_qk = w.b_Q.size(1);
      shape.rope = rope(shape.d_qk);
    } else {
      shape.kind = "sae";
    }
    save_for_tiny_cache(dir / name, model::Dictionary(shape, w));
  }
};

/// Every number of `expected` within a relative `tolerance`; the same members, lists as long.
inline void check_json(const io::Json& found,
                       const io::Json& expected,
                       double tolerance,
                       const std::string& where = "") {
  INFO(where);
  if (expected.is_structured()) {
    REQUIRE(found.type() == expected.type());
    REQUIRE(found.size() == expected.size());
    const auto items = expected.items();
    for (const auto& [key, value] : items) {
      const io::Json& own =
          expected.is_object() ? found.at(key) : found.at(static_cast<size_t>(std::stoul(key)));
      check_json(own, value, tolerance, where + "/" + key);
    }
  } else if (expected.is_number_float()) {
    CHECK(found.get<double>() == Approx(expected.get<double>()).epsilon(tolerance));
  } else {
    CHECK(found == expected);
  }
}

}  // namespace lorsa::test
