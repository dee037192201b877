#pragma once

#include <filesystem>
#include <vector>

#include "lorsa/eval/evaluate.h"

namespace lorsa::test {

/// An evaluation and what it is of.
struct EvalCall : eval::EvalOptions {
  std::filesystem::path checkpoint, cache, model;  ///< an empty model: none
};

inline study::Study study_of(const EvalCall& call,
                             const std::vector<std::filesystem::path>& checkpoints) {
  study::Study study("cpu");
  study.open_cache(call.cache);
  for (const std::filesystem::path& checkpoint : checkpoints) {
    study.open_checkpoint(checkpoint);
  }
  if (!call.model.empty()) {
    study.open_model(call.model);
  }
  return study;
}

inline std::vector<eval::EvalReport> evaluate_all(
    const EvalCall& call, const std::vector<std::filesystem::path>& checkpoints) {
  return eval::evaluate(study_of(call, checkpoints), call);
}

inline eval::EvalReport evaluate(const EvalCall& call) {
  return evaluate_all(call, {call.checkpoint}).front();
}

}  // namespace lorsa::test
