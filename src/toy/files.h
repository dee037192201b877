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
                 const ToyConfig& config,
                 const Task& task,
                 TargetModel& model);

/// corpus.npy and truth.json: corpus.rows rows of the stream "corpus". Returns how many are held
/// out.
int64_t write_corpus(const std::filesystem::path& folder,
                     const ToyConfig& config,
                     const Task& task);

}  // namespace lorsa::toy
