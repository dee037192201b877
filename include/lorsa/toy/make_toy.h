#pragma once

#include <cstdint>
#include <filesystem>

#include "lorsa/core/api.h"
#include "lorsa/core/progress.h"
#include "lorsa/toy/config.h"

namespace lorsa::toy {

/// How well the target model learned its task.
struct ToySummary {
  std::filesystem::path folder;
  int64_t num_parameters = 0;
  double loss = 0.0;      ///< cross-entropy over held-out answers, nats
  double accuracy = 0.0;  ///< share of held-out answers that are the most likely token
  double seconds = 0.0;   ///< of training
  bool already_done = false;
};

/// Trains a target model with planted rules on the CPU and writes run.out (docs/formats.md):
///
///     config.json model.safetensors tokenizer.json tokenizer_config.json   a Hugging Face folder,
///     Llama corpus.npy    int32 [rows, context_length - 1]: documents without BOS for lorsa-cache
///     truth.json    where every rule applies in the held-out documents
///     toy.yaml      the configuration; a folder of the same one is left as it is
///
/// The architecture is Llama's: RMS norms, rotary attention, SiLU MLP, untied unembedding. With
/// d_mlp 0 the model is attention alone: its MLP is there, one unit wide with zero weights, and
/// adds nothing. The folder appears when all of it is there. Same seed and thread count, same
/// bytes.
///
/// Throws ConfigError for contradictory settings and for a folder of another configuration, Error
/// if the loss stops being finite; Interrupted after a StopSignal (nothing is left).
[[nodiscard]] LORSA_API ToySummary make_toy(const ToyConfig& config, Progress::Visible progress);

}  // namespace lorsa::toy
