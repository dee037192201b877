#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "lorsa/eval/interventions.h"
#include "lorsa/study/study.h"

namespace lorsa::eval {

/// InterventionOptions, read and checked as far as that needs no computing.
struct InterventionPlan {
  struct Prompt {
    std::string text;
    at::Tensor tokens_T;
    at::Tensor edited_T;
    bool brought_bos = false;  ///< the text began with BOS itself
  };

  std::vector<int64_t> ablated;
  std::vector<HeadEdit> steered;
  HeadEdits edits;
  RepeatOptions repeat;
  std::vector<Prompt> prompts;
  int64_t prompt_tokens = 0;
  bool random_control = false;
};

/// None if nothing is to be edited. Throws ConfigError naming options that miss each other or
/// contradict each other, for a study without a model or with several members, heads that its
/// member lacks and empty prompts.
[[nodiscard]] std::optional<InterventionPlan> plan_interventions(
    const study::Study& study, const InterventionOptions& options);

/// Carries a plan out on the study's member, on held-out `rows` of its cache; rate_H: how often
/// heads act at their scored positions. Honours StopSignal with Interrupted. Throws ConfigError if
/// fewer heads act than a control needs.
[[nodiscard]] InterventionReport intervene(const InterventionPlan& plan,
                                           const study::Study& study,
                                           const std::vector<int64_t>& rows,
                                           const at::Tensor& rate_H,
                                           const study::PassOptions& pass);

}  // namespace lorsa::eval
