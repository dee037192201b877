#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "lorsa/core/error.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/data/sampler.h"
#include "lorsa/io/safetensors.h"
#include "lorsa/model/checkpoint.h"
#include "lorsa/model/interchange.h"
#include "step_models.h"

// What step_bench.cpp times a step of: weights and a batch, random or stored.

namespace lorsa::bench {

struct Size {
  int64_t D, H, S, E, K, T, B;

  [[nodiscard]] std::string name() const {
    return formatted("D {}, H {}, S {}, E {}, K {}, T {}, B {}", D, H, S, E, K, T, B);
  }
};

struct Case {
  std::string name;
  DictionaryShape shape;
  DictionaryWeights weights;
  Batch batch;
};

inline DictionaryShape shape_of(const Size& size) {
  DictionaryShape shape;
  shape.d_model = size.D;
  shape.num_ov_heads = size.H;
  shape.num_qk_heads = size.S;
  shape.d_qk = size.E;
  shape.top_k = size.K;
  shape.attn_scale = std::sqrt(static_cast<double>(size.E));
  shape.rope.rotary_dim = size.E;
  return shape;
}

/// How often heads of random data act: kEven, all alike; kTrained, as those of a trained Lorsa.
enum class Skew { kEven, kTrained };

/// Shares of the positions at which each of H heads acts, K together: logarithms normal, with a
/// part that the OV heads of a QK head share.
///
/// Fitted to what `scripts/quickstart.sh --tokens 120k` trains. In its dump's index.json (`rate`,
/// 199,323 tokens) 1,940 of 2,304 heads act, the logarithm's standard deviation is 2.83, and the
/// most frequent head acts at 0.47. The shared part of the variance is such that as many (position,
/// QK head) pairs own a kept head as there, 0.32: more than the 0.23 that lies between the QK
/// heads, because trained heads of one QK head act together and these act each for itself.
inline at::Tensor trained_rates(const DictionaryShape& shape) {
  constexpr double kDeviation = 2.83, kShared = 0.57, kMost = 0.47;
  const at::Tensor qk_S = at::randn({shape.num_qk_heads, 1}, at::kDouble);
  const at::Tensor ov_SG = at::randn({shape.num_qk_heads, shape.group()}, at::kDouble);
  const at::Tensor logarithm_H =
      (kDeviation * (std::sqrt(kShared) * qk_S + std::sqrt(1.0 - kShared) * ov_SG)).flatten();
  const auto rates = [&](double mean) { return (logarithm_H + mean).exp().clamp_max(kMost); };
  double low = -50.0, high = 50.0;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    const bool too_many = rates(middle).sum().item<double>() > static_cast<double>(shape.top_k);
    (too_many ? high : low) = middle;
  }
  return rates(low);
}

inline Case random_case(const Size& size, Skew skew, c10::Device device) {
  at::manual_seed(0);
  Case made{size.name() + (skew == Skew::kTrained ? ", skewed" : ""), shape_of(size), {}, {}};
  const at::TensorOptions options(device);
  const double d = 1.0 / std::sqrt(static_cast<double>(size.D));
  for (const std::string& name : model::weight_names(made.shape)) {
    made.weights.at(name) = at::randn(model::weight_shape(made.shape, name), options) *
                            (model::weight_info(name).is_matrix ? d : 0.01);
  }
  made.batch = {at::randn({size.B, size.T, size.D}, options),
                at::randn({size.B, size.T, size.D}, options),
                at::ones({size.B, size.T}, options.dtype(at::kBool)), size.B * size.T};
  if (skew == Skew::kTrained) {
    // z is normal, of one deviation at a position but for this factor: a head passes a threshold of
    // that deviation as often as its rate says.
    const at::Tensor rate_H = trained_rates(made.shape);
    const at::Tensor factor_H =
        (1.0 / (std::sqrt(2.0) * at::erfinv(1.0 - 2.0 * rate_H))).to(device, at::kFloat);
    made.weights.W_V *= factor_H.unsqueeze(1);
    made.weights.b_V *= factor_H;
  }
  return made;
}

/// Weights of a checkpoint, folded, and the first B training rows of a cache in the order of a
/// training with seed 0.
inline Case stored_case(const std::filesystem::path& checkpoint,
                        const std::filesystem::path& cache,
                        int64_t B,
                        c10::Device device) {
  const model::LoadedDictionary loaded = model::load_folded(checkpoint);
  const data::CacheReader reader(cache);
  const std::vector<int64_t>& training = reader.rows(data::Side::kTraining);
  const auto size = static_cast<int64_t>(training.size());
  LORSA_CHECK(size >= B, ConfigError, "{}: {} training rows, fewer than the batch's {}",
              cache.string(), size, B);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < B; ++i) {
    rows.push_back(training[static_cast<size_t>(data::sampled_index(i, size, 0))]);
  }
  const data::Batch batch = reader.read(rows);
  Case made{"", loaded.dictionary.shape(), loaded.dictionary.weights(), {}};
  for (const auto& [name, weight] : made.weights.named()) {
    *weight = weight->to(device);
  }
  made.batch = {batch.input_BTD.to(device, at::kFloat), batch.target_BTD.to(device, at::kFloat),
                batch.scored_BT.to(device), batch.scored_BT.sum().item<int64_t>()};
  const DictionaryShape& s = made.shape;
  made.name =
      Size{s.d_model, s.num_ov_heads, s.num_qk_heads, s.d_qk, s.top_k, batch.input_BTD.size(1), B}
          .name();
  return made;
}

/// Writes the weights as a llamascopium checkpoint and the batch beside it, for authors_step.py.
inline void write_case(const Case& made, const std::filesystem::path& folder) {
  const model::Dictionary dictionary(made.shape, made.weights);
  model::save_llamascopium(folder, dictionary, {}, made.batch.x_BTD.size(1));
  io::write_safetensors(folder / "batch.safetensors", {{"input", made.batch.x_BTD},
                                                       {"target", made.batch.t_BTD},
                                                       {"scored", made.batch.scored_BT}});
}

}  // namespace lorsa::bench
