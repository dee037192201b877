#include "toy/files.h"

#include <ATen/ATen.h>

#include <cstring>

#include "lorsa/core/error.h"
#include "lorsa/data/corpus.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "lorsa/io/safetensors.h"

namespace lorsa::toy {
namespace {

namespace fs = std::filesystem;
using io::Json;

constexpr int64_t kTruthSchema = 1;

Json model_config(const ToyConfig::Model& model, const Task& task) {
  Json json;
  json["architectures"] = Json::array({"LlamaForCausalLM"});
  json["model_type"] = "llama";
  json["attention_bias"] = false;
  json["bos_token_id"] = kBos;
  json["dtype"] = "float32";
  json["head_dim"] = model.head_width;
  json["hidden_act"] = "silu";
  json["hidden_size"] = model.d_model;
  json["intermediate_size"] = std::max<int64_t>(model.d_mlp, 1);
  json["max_position_embeddings"] = std::max<int64_t>(task.context_length(), 64);
  json["mlp_bias"] = false;
  json["num_attention_heads"] = model.heads;
  json["num_hidden_layers"] = model.layers;
  json["num_key_value_heads"] = model.heads;
  json["rms_norm_eps"] = kNormEps;
  json["rope_theta"] = model.rope_base;
  json["tie_word_embeddings"] = false;
  json["vocab_size"] = task.words().size();
  return json;
}

/// A byte-level BPE whose words are whole: text is split at spaces and a word is looked up with the
/// space before it ("Ġs0"). BOS is special and added by who encodes.
Json tokenizer(const std::vector<std::string>& words) {
  Json vocabulary = Json::object();
  for (size_t id = 0; id < words.size(); ++id) {
    vocabulary[id == kBos ? words[id] : "\u0120" + words[id]] = id;
  }
  Json bos;
  bos["id"] = kBos;
  bos["content"] = words[kBos];
  for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) {
    bos[flag] = false;
  }
  bos["special"] = true;
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", false}};
  const Json split = {{"type", "Split"},
                      {"pattern", {{"Regex", " ?[^ ]+"}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  Json json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  json["added_tokens"] = Json::array({bos});
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers", Json::array({split, byte_level})}};
  json["post_processor"] = nullptr;
  json["decoder"] = byte_level;
  json["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"ignore_merges", true},
                   {"vocab", vocabulary},
                   {"merges", Json::array()}};
  return json;
}

/// NumPy's format 1.0 for a little-endian int32 matrix.
std::string npy_header(int64_t rows, int64_t columns) {
  std::string text =
      formatted("{{'descr': '<i4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, columns);
  constexpr size_t kPreamble = 10;
  constexpr size_t kAlignment = 64;
  text.append(kAlignment - (kPreamble + text.size() + 1) % kAlignment, ' ');
  text += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(text.size() & 0xFF);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

Json truth_row(int64_t document, const TaskRow& row) {
  Json applications = Json::array();
  for (const Application& application : row.applications) {
    applications.push_back({application.rule, application.destination, application.sources});
  }
  return {{"document", document},
          {"candidates", row.candidates},
          {"applications", std::move(applications)}};
}

}  // namespace

void write_model(const fs::path& folder,
                 const ToyConfig::Model& settings,
                 const Task& task,
                 TargetModel& model) {
  const std::vector<std::string>& words = task.words();
  io::write_json(folder / "config.json", model_config(settings, task));
  io::NamedTensors tensors;
  for (const auto& [name, tensor] : model.named()) {
    tensors.emplace_back(name, tensor.detach());
  }
  io::write_safetensors(folder / "model.safetensors", tensors, {{"format", "pt"}});
  io::write_json(folder / "tokenizer.json", tokenizer(words));
  io::write_json(folder / "tokenizer_config.json", {{"bos_token", words[kBos]}});
}

int64_t write_corpus(const fs::path& folder,
                     const ToyConfig::Corpus& settings,
                     const Task& task,
                     uint64_t seed,
                     int64_t layer) {
  std::string bytes = npy_header(settings.rows, task.context_length() - 1);
  Json rows = Json::array();
  for (int64_t document = 0; document < settings.rows; ++document) {
    const TaskRow row = task_row(task, seed, "toy corpus", document);
    const std::vector<int32_t> ids(row.tokens.begin() + 1, row.tokens.end());
    bytes.append(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t));
    if (data::is_heldout({{}, ids, document}, settings.holdout_fraction)) {
      rows.push_back(truth_row(document, row));
    }
  }
  io::write_file(folder / "corpus.npy", bytes);
  const auto num_heldout = static_cast<int64_t>(rows.size());
  Json truth;
  truth["schema"] = kTruthSchema;
  truth["layer"] = layer;
  truth["context_length"] = task.context_length();
  truth["num_documents"] = settings.rows;
  truth["holdout_fraction"] = settings.holdout_fraction;
  truth["rules"] = task.rules();
  truth["rows"] = std::move(rows);
  // One line: indented, every number would stand on a line of its own.
  io::write_file(folder / "truth.json", truth.dump() + "\n");
  return num_heldout;
}

}  // namespace lorsa::toy
