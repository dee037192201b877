#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lorsa/data/cache_reader.h"
#include "lorsa/eval/evaluate.h"
#include "lorsa/eval/interventions.h"
#include "lorsa/lm/tokenizer.h"

namespace lorsa::eval {

/// InterventionOptions, read and checked as far as that needs no computing.
struct InterventionPlan {
  struct Prompt {
    std::string text;
    at::Tensor tokens_T;
    at::Tensor edited_T;
    bool brought_bos = false;  ///< the text began with BOS itself
  };

  explicit InterventionPlan(const std::filesystem::path& model) : tokenizer(model) {}

  std::vector<int64_t> ablated;
  std::vector<HeadEdit> steered;
  HeadEdits edits;
  lm::Tokenizer tokenizer;
  RepeatOptions repeat;
  std::vector<Prompt> prompts;
  int64_t prompt_tokens = 0;
  bool random_control = false;
};

/// None if nothing is to be edited. Throws ConfigError naming options that miss each other or
/// contradict each other, heads that the Lorsa lacks and empty prompts.
[[nodiscard]] std::optional<InterventionPlan> plan_interventions(
    const EvalOptions& options,
    const model::DictionaryShape& shape,
    const data::Manifest& manifest);

/// What the plan is carried out on.
struct InterventionInputs {
  EditedLayer layer;
  const data::CacheReader& cache;
  const std::vector<int64_t>& rows;  ///< held-out rows of the cache
  const at::Tensor& rate_H;          ///< how often heads act at their scored positions
  int64_t batch_sequences = 0;
  Progress::Visible progress = Progress::Visible::kYes;
};

/// Honours StopSignal with Interrupted. Throws ConfigError if fewer heads act than a control needs.
[[nodiscard]] InterventionReport intervene(const InterventionPlan& plan,
                                           const InterventionInputs& inputs);

}  // namespace lorsa::eval
