#pragma once

#include <filesystem>
#include <utility>
#include <vector>

#include "lorsa/toy/config.h"
#include "toy/target_model.h"
#include "toy/tasks.h"

namespace lorsa::toy {

/// config.json, model.safetensors, tokenizer.json and tokenizer_config.json of a Llama.
void write_model(const std::filesystem::path& folder,
                 const ToyConfig::Model& settings,
                 const Task& task,
                 TargetModel& model);

/// corpus.npy and truth.json, of rules in the layer: rows of the stream "corpus". Returns how many
/// are held out.
int64_t write_corpus(const std::filesystem::path& folder,
                     const ToyConfig::Corpus& settings,
                     const Task& task,
                     uint64_t seed,
                     int64_t layer);

}  // namespace lorsa::toy
