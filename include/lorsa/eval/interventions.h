#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lorsa/config/fields.h"
#include "lorsa/core/api.h"
#include "lorsa/eval/head_list.h"
#include "lorsa/eval/intervene.h"
#include "lorsa/eval/probes.h"
#include "lorsa/io/json.h"

namespace lorsa::eval {

/// Which heads are edited and what is compared; without edits nothing of this is done.
struct InterventionOptions {
  std::string ablate_heads;        ///< a LIST as parse_heads() takes it; empty: none
  std::vector<std::string> steer;  ///< each "HEAD=VALUE"
  NamedHeads named_heads;          ///< names that the list may use
  bool random_control = false;     ///< also ablate as many other heads, see RandomControl
  std::vector<std::string> prompts;
  std::filesystem::path prompts_file;  ///< more prompts, one a line: filled_lines()
  int64_t prompt_tokens = 10;          ///< length of a prompt's token lists

  [[nodiscard]] bool any_edits() const { return !ablate_heads.empty() || !steer.empty(); }
};

/// Without a section: keys are option names.
LORSA_API void describe(config::Fields& fields, InterventionOptions& options);

/// Draws of as many heads as are ablated, uniformly from those that act at some scored position of
/// the held-out rows and are not ablated themselves.
struct RandomControl {
  static constexpr int64_t kNumDraws = 5;  ///< seeds 0 to 4

  int64_t num_candidates = 0;
  std::vector<std::vector<int64_t>> draws;  ///< ascending heads of each; empty: not asked for
};

/// One kind of rows: the edits and the control's draws, all ablated.
struct LORSA_API RowsEffect {
  EditEffect edited;
  std::vector<EditEffect> control;

  /// Mean rise and mean KL of the control's draws.
  [[nodiscard]] double control_rise() const;
  [[nodiscard]] double control_kl() const;
  /// The edits' rise (KL) over the control's; NaN where the control's is not positive. A rise may
  /// be the small rest of losses and gains; KL is not, and tells whether predictions change at all.
  [[nodiscard]] double rise_ratio() const;
  [[nodiscard]] double kl_ratio() const;
};

/// A prompt and what follows it.
struct PromptReport {
  std::string prompt;
  int64_t num_tokens = 0;  ///< with BOS, if the cache's rows begin with it
  PromptEffect effect;
  std::map<int32_t, std::string> token_text;  ///< of every token in the effect's lists
};

struct InterventionReport {
  std::vector<int64_t> ablated;
  std::vector<HeadEdit> steered;
  RepeatOptions repeat;
  RandomControl control;
  RowsEffect heldout;   ///< the cache's held-out rows: scored_rows()
  RowsEffect repeated;  ///< repeated_random_tokens(), copies of 64 or what the context holds twice
  std::vector<PromptReport> prompts;
  RowsEffect prompt_text;  ///< all prompts' own tokens, edited and counted but for BOS; each alone
};

/// The object `interventions` of an evaluation report (docs/formats.md).
[[nodiscard]] LORSA_API io::Json to_json(const InterventionReport& report);

/// Tables for the terminal.
[[nodiscard]] LORSA_API std::string to_table(const InterventionReport& report);

}  // namespace lorsa::eval
