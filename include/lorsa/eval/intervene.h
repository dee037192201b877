#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/model/dictionary.h"

namespace lorsa::eval {

/// A head's activation is set to `value` wherever edits act; 0 ablates the head.
struct HeadEdit {
  int64_t head = 0;
  double value = 0.0;
};

/// Edits that are made together; a head stands at most once.
using HeadEdits = std::vector<HeadEdit>;

/// Which dictionary stands for which site of which language model. All are borrowed.
struct EditedLayer {
  const lm::LanguageModel& model;
  const model::Dictionary& dictionary;  ///< folded, in unit form, on the model's device
  Site site;
};

/// Final norm's outputs [B, T, D] of the untouched model and under each set of edits.
struct EditedHidden {
  at::Tensor original_BTD;
  std::vector<at::Tensor> edited_BTD;
};

/// Runs the language model as it is and under each set of edits; the blocks below the layer, the
/// layer and the choice of its heads once for all of them.
///
/// An edit replaces what the layer wrote by
///   output + sum over edited heads (value - a_h) W_O[h],   a_h: the kept activation, 0 if not kept
/// where edited_BT [B, T] (bool) says so, and leaves it elsewhere. Only what the edited heads write
/// is changed: the Lorsa's error stays in the output, for replacing the output by the Lorsa's would
/// add that error's effect to the heads'; and which heads are kept is not chosen anew, for other
/// heads would stand in for ablated ones. Setting a head to its own activation changes nothing. In
/// unit form a value is the length of what the head writes, as lorsa-dump shows it.
///
/// Heads of batchtopk are chosen among all the positions given. Throws ConfigError for a head that
/// the Lorsa lacks, that a set holds twice or whose value is not finite, ShapeError if tokens and
/// edited_BT differ, and what the language model throws.
[[nodiscard]] LORSA_API EditedHidden run_edits(const EditedLayer& layer,
                                               const std::vector<HeadEdits>& sets,
                                               const at::Tensor& tokens_BT,
                                               const at::Tensor& edited_BT);

/// Token rows on which edits are measured; all [B, T].
struct ProbeRows {
  at::Tensor tokens_BT;   ///< int32 or int64
  at::Tensor counted_BT;  ///< bool: the prediction of this token counts; of a row's first none does
  at::Tensor edited_BT;   ///< bool: where edits act
};

/// What a set of edits does to the predictions that count. Without any, means are NaN.
struct EditEffect {
  int64_t num_predictions = 0;
  double ce_original = 0.0;  ///< mean cross-entropy of the untouched model, nats
  double ce_edited = 0.0;
  double kl = 0.0;  ///< mean KL(original || edited) of the next-token distributions, nats

  [[nodiscard]] double rise() const { return ce_edited - ce_original; }
};

/// Accumulates the effects of several sets of edits over batches of rows.
class LORSA_API EditMeter {
 public:
  EditMeter(const EditedLayer& layer, std::vector<HeadEdits> sets);

  /// One batch, computed at once.
  void add(const ProbeRows& rows);
  /// In the order of the sets.
  [[nodiscard]] std::vector<EditEffect> report() const;

 private:
  struct Sums {
    double ce_edited = 0.0;
    double kl = 0.0;
  };

  EditedLayer layer_;
  std::vector<HeadEdits> sets_;
  int64_t num_predictions_ = 0;
  double ce_original_ = 0.0;
  std::vector<Sums> sums_;
};

/// What one set of edits does on `rows`, computed a few rows at a time.
[[nodiscard]] LORSA_API EditEffect measure_edits(const EditedLayer& layer,
                                                 const HeadEdits& edits,
                                                 const ProbeRows& rows);

/// The same of several sets, which share the untouched model's run.
[[nodiscard]] LORSA_API std::vector<EditEffect> measure_edit_sets(
    const EditedLayer& layer, const std::vector<HeadEdits>& sets, const ProbeRows& rows);

/// A next token's probability without and with the edits.
struct TokenShift {
  int32_t token = 0;
  double before = 0.0;
  double after = 0.0;
};

/// What edits do to the token that follows a prompt. Equal probabilities: the lower token first.
struct PromptEffect {
  double kl = 0.0;                  ///< KL(original || edited), nats
  std::vector<TokenShift> before;   ///< the most probable tokens of the untouched model
  std::vector<TokenShift> after;    ///< those of the edited one
  std::vector<TokenShift> changed;  ///< by descending |after - before|
};

/// tokens_T and edited_T [T] as run_edits() takes them for one row; lists of `num_tokens` tokens,
/// or of the whole vocabulary if that is less.
[[nodiscard]] LORSA_API PromptEffect measure_prompt(const EditedLayer& layer,
                                                    const HeadEdits& edits,
                                                    const at::Tensor& tokens_T,
                                                    const at::Tensor& edited_T,
                                                    int64_t num_tokens);

}  // namespace lorsa::eval
