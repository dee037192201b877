#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "lorsa/io/json.h"
#include "lorsa/model/checkpoint.h"
#include "lorsa/train/run.h"
#include "lorsa/train/state.h"
#include "support/temp_dir.h"
#include "support/tiny_cache.h"

// Runs of a few steps on a tiny cache.

namespace lorsa::test {

constexpr int64_t kStepTokens = 2 * 16;

inline train::RunConfig make_config(const std::filesystem::path& root, const std::string& out) {
  train::RunConfig c;
  c.run.out = (root / out).string();
  c.run.device = "cpu";
  c.data.cache = (root / "cache").string();
  c.data.batch_sequences = 2;
  c.model.num_ov_heads = 24;
  c.model.num_qk_heads = 3;
  c.model.d_qk = 8;
  c.model.top_k = 4;
  c.init = {model::QkInit::kMhsa, model::OvInit::kActiveSubspace, true};
  c.train.tokens = 12 * kStepTokens;
  c.train.learning_rate = 1e-2;
  c.train.warmup_tokens = 2 * kStepTokens;
  c.train.initial_k = 8;
  c.train.k_anneal_tokens = 5 * kStepTokens;
  c.checkpoint.every_tokens = 4 * kStepTokens;
  c.log.every_tokens = 5 * kStepTokens;
  return c;
}

inline model::DictionaryWeights final_weights(const train::RunConfig& c) {
  return model::load_checkpoint(std::filesystem::path(c.run.out) / "final").dictionary.weights();
}

inline bool bitwise_equal(const model::DictionaryWeights& a, const model::DictionaryWeights& b) {
  const auto x = a.named();
  const auto y = b.named();
  bool equal = x.size() == y.size();
  for (size_t i = 0; equal && i < x.size(); ++i) {
    equal = at::equal(*x[i].second, *y[i].second);
  }
  return equal;
}

inline std::vector<io::Json> metrics(const train::RunConfig& c) {
  std::vector<io::Json> lines;
  std::ifstream in(std::filesystem::path(c.run.out) / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) {
    lines.push_back(io::parse_json(line, "metrics.jsonl"));
  }
  return lines;
}

// Lines without the wall-clock fields.
inline std::vector<io::Json> timeless(std::vector<io::Json> lines) {
  for (io::Json& line : lines) {
    for (const char* key : {"tokens_per_s", "data_wait_s", "model_s", "communication_s",
                            "optimizer_s", "elapsed_s"}) {
      line.erase(key);
    }
  }
  return lines;
}

/// A Lorsa for the tiny cache, always the same.
inline model::Dictionary small_lorsa() {
  model::DictionaryShape shape;
  shape.d_model = 20;
  shape.num_ov_heads = 24;
  shape.num_qk_heads = 3;
  shape.d_qk = 8;
  shape.top_k = 4;
  shape.attn_scale = 1.0;
  at::manual_seed(1);
  model::DictionaryWeights w;
  for (const std::string& name : model::weight_names(shape)) {
    w.at(name) = at::randn(model::weight_shape(shape, name)) * 0.3;
  }
  return {shape, w};
}

/// What a training of it begins from.
inline train::TrainerState fresh_state(const model::Dictionary& dictionary) {
  train::TrainerState state;
  state.optimizer = train::fresh_optimizer(dictionary.weights());
  state.last_active_H = at::zeros({dictionary.shape().num_ov_heads}, at::kLong);
  return state;
}

inline train::TrainSummary run(const train::RunConfig& c) {
  return train::train(c, Progress::Visible::kNo);
}

}  // namespace lorsa::test
