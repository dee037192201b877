#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "lorsa/analysis/dump.h"
#include "lorsa/core/error.h"
#include "lorsa/data/cache_writer.h"
#include "lorsa/io/checksum.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "lorsa/model/checkpoint.h"
#include "support/lorsa_oracle.h"
#include "support/test.h"

// A tiny language model, a cache of random activations "of its layer 1" and a random Lorsa for it.

namespace lorsa::test {

/// A token that a page must show as text.
inline constexpr const char* kMarkup = "</script><b onload=\"x\">&amp;";

class TinyDump {
 public:
  static constexpr int64_t kVocabulary = 97;  // of tests/golden/lm/tiny-plain

  explicit TinyDump(model::Activation activation = model::Activation::kTopK) {
    at::manual_seed(5);
    shape.d_model = 24;
    shape.num_ov_heads = 140;  // more than one shard of heads
    shape.num_qk_heads = 7;
    shape.d_qk = 6;
    shape.top_k = 5;
    shape.activation = activation;
    shape.attn_scale = 1.3;
    shape.rope.rotary_dim = 4;
    shape.rope.base = 100.0;
    weights = random_weights(shape, at::kFloat);
    // A head that never acts.
    weights.W_V[9].zero_();
    weights.b_V[9] = -1.0;
    if (activation == model::Activation::kTopKSigned) {
      weights.b_V[9] = 0.0;
    }
    input_RTD = at::randn({kRows, kContext, shape.d_model});
    tokens_RT = at::randint(0, kVocabulary, {kRows, kContext}, at::kInt);
    scored_RT = at::rand({kRows, kContext}) < 0.8;
    scored_RT.select(1, 0).fill_(false);
    attention.W_Q = at::randn({kMhsaHeads, shape.d_model, 4});
    attention.W_K = at::randn({kMhsaHeads, shape.d_model, 4});
    attention.W_V = at::randn({kMhsaHeads, shape.d_model, 4});
    attention.W_O = at::randn({kMhsaHeads, 4, shape.d_model});
    attention.attn_scale = 2.0;
    attention.rope.rotary_dim = 4;
    write_model();
    write_cache();
    write_checkpoint();
  }

  [[nodiscard]] analysis::DumpOptions options() const {
    analysis::DumpOptions o;
    o.checkpoint = dir / "checkpoint";
    o.cache = dir / "cache";
    o.model = dir / "model";
    o.out = dir / "dump";
    o.num_contexts = 4;
    o.num_quantiles = 3;
    o.num_non_firing = 2;
    o.window_tokens = 8;
    o.num_logit_tokens = 6;
    o.batch_rows = 3;
    o.device = "cpu";
    o.progress = Progress::Visible::kNo;
    return o;
  }

  /// The weights on raw activations, in double.
  [[nodiscard]] model::DictionaryWeights folded() const {
    model::DictionaryWeights w;
    const auto from = weights.named();
    for (const auto& [name, tensor] : from) {
      at::Tensor value = tensor->to(at::kDouble);
      const bool reads = name == "W_Q" || name == "W_K" || name == "W_V";
      const bool writes = name == "W_O" || name == "b_D";
      value = reads ? value * kInputScale : writes ? value / kTargetScale : value;
      assign(w, name, value);
    }
    return w;
  }

  /// Activations in unit form, [R, T, H], double.
  [[nodiscard]] at::Tensor activations() const {
    const model::DictionaryWeights w = folded();
    const at::Tensor z = oracle_z(shape, w, input_RTD.to(at::kDouble));
    return oracle_activations(shape, w, z, at::ones({z.size(0), z.size(1)}, at::kBool)) *
           w.W_O.norm(2, 1);
  }

  /// The text of a token as the tokenizer file below has it.
  [[nodiscard]] static std::string token_text(int64_t id) {
    return id == 3 ? kMarkup : id == 4 ? "\n" : id == 5 ? " a\"\\" : formatted("t{}", id);
  }

  void write_checkpoint() const {
    model::CheckpointInfo info;
    info.normalization = model::Normalization::kScaled;
    info.input_scale = kInputScale;
    info.target_scale = kTargetScale;
    info.model_name = "tiny";
    info.weights_sha256 = weights_sha256;
    info.site.layer = layer;
    info.input_convention = "rms_normalized";
    model::save_checkpoint(dir / "checkpoint", model::Dictionary(shape, weights), info);
  }

  static constexpr int64_t kRows = 9;
  static constexpr int64_t kContext = 12;
  static constexpr int64_t kMhsaHeads = 5;
  static constexpr double kInputScale = 0.8;
  static constexpr double kTargetScale = 1.7;

  TempDir dir;
  model::DictionaryShape shape;
  model::DictionaryWeights weights;  ///< as stored: on scaled activations
  at::Tensor input_RTD, tokens_RT, scored_RT;
  kernels::Mhsa attention;  ///< the cache's
  std::string weights_sha256;
  int64_t layer = 1;  ///< of the checkpoint; the cache's is 1

 private:
  static void assign(model::DictionaryWeights& w,
                     const std::string& name,
                     const at::Tensor& value) {
    at::Tensor* const places[] = {&w.W_Q, &w.W_K, &w.b_Q, &w.b_K, &w.W_V, &w.b_V, &w.W_O, &w.b_D};
    const char* const names[] = {"W_Q", "W_K", "b_Q", "b_K", "W_V", "b_V", "W_O", "b_D"};
    for (size_t i = 0; i < 8; ++i) {
      if (name == names[i]) {
        *places[i] = value;
      }
    }
  }

  void write_model() {
    const std::filesystem::path golden_model = golden("lm/tiny-plain");
    std::filesystem::create_directories(dir / "model");
    for (const char* file : {"config.json", "model.safetensors"}) {
      std::filesystem::copy_file(golden_model / file, dir / "model" / file);
    }
    weights_sha256 = io::file_sha256(dir / "model" / "model.safetensors");
    io::Json vocabulary;
    for (int64_t id = 0; id < kVocabulary; ++id) {
      // Byte-level units: U+010A is a newline, U+0120 a space.
      const std::string unit = id == 3   ? kMarkup
                               : id == 4 ? "\u010A"
                               : id == 5 ? "\u0120a\"\\"
                                         : token_text(id);
      vocabulary[unit] = id;
    }
    io::Json tokenizer = {
        {"version", "1.0"},
        {"added_tokens", io::Json::array()},
        {"normalizer", nullptr},
        {"pre_tokenizer",
         {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", true}}},
        {"post_processor", nullptr},
        {"decoder",
         {{"type", "ByteLevel"},
          {"add_prefix_space", true},
          {"trim_offsets", true},
          {"use_regex", true}}},
        {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", io::Json::array()}}}};
    io::write_json(dir / "model" / "tokenizer.json", tokenizer);
  }

  void write_cache() const {
    data::Manifest plan;
    plan.model_name = "tiny";
    plan.architecture = "LlamaForCausalLM";
    plan.weights_sha256 = weights_sha256;
    plan.site.layer = 1;
    plan.input_convention = "rms_normalized";
    plan.dtype = data::StoreDtype::kFloat32;
    plan.context_length = kContext;
    plan.d_model = shape.d_model;
    plan.packing = "pack";
    plan.config_yaml = "tiny: true\n";
    data::CacheWriter writer(dir / "cache", plan, attention, 4);
    data::RowBlock block;
    block.input_BTD = input_RTD;
    block.target_BTD = at::randn_like(input_RTD);
    block.tokens_BT = tokens_RT;
    block.scored_BT = scored_RT;
    for (int64_t row = 0; row < kRows; ++row) {
      block.document.push_back(10 * row);
      block.heldout.push_back(row % 4 == 3 ? 1 : 0);
    }
    writer.append(block);
    writer.finish();
  }
};

/// Every line of every shard, in order.
inline std::vector<io::Json> read_heads(const std::filesystem::path& dump) {
  std::vector<io::Json> heads;
  const io::Json index = io::read_json(dump / "index.json");
  for (const io::Json& shard : index.at("shards")) {
    std::istringstream lines(io::read_file(dump / shard.get<std::string>()));
    for (std::string line; std::getline(lines, line);) {
      heads.push_back(io::parse_json(line, "shard"));
    }
  }
  return heads;
}

/// A record's contexts of one sample.
inline std::vector<io::Json> contexts_of(const io::Json& head, const std::string& sample) {
  std::vector<io::Json> contexts;
  for (const io::Json& context : head.at("contexts")) {
    if (context.at("sample") == sample) {
      contexts.push_back(context);
    }
  }
  return contexts;
}

/// Name and content of every file below `folder`.
inline std::map<std::string, std::string> files_below(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) {
      files[entry.path().lexically_relative(folder).string()] = io::read_file(entry.path());
    }
  }
  return files;
}

}  // namespace lorsa::test
