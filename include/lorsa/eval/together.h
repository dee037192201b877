#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/core/site.h"
#include "lorsa/io/json.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/model/dictionary.h"
#include "lorsa/study/study.h"

namespace lorsa::eval {

/// A dictionary in the place of its site. Borrowed; folded.
struct Replacement {
  Site site;
  const model::Dictionary* dictionary = nullptr;
};

/// What the language model loses, over the predictions that LanguageReport counts.
struct ReplacedLoss {
  double ce = 0.0;  ///< mean cross-entropy, nats
  double kl = 0.0;  ///< mean KL(original || replaced), nats
};

/// Several sites replaced one at a time and all at once. A dictionary reads what its site reads in
/// the model as it runs: behind another replacement that is not what it was trained on, so errors
/// can add up.
struct TogetherReport {
  std::string model_name;
  int64_t num_rows = 0;
  int64_t num_predictions = 0;
  double ce_original = 0.0;
  double ce_zero_ablated = 0.0;  ///< zeros in the place of all sites' outputs
  ReplacedLoss together;
  double ce_recovered = 0.0;  ///< of together: (zero - replaced) / (zero - original)

  struct Alone {
    std::string checkpoint;
    std::string kind;
    Site site;
    ReplacedLoss loss;
  };

  std::vector<Alone> alone;  ///< in the order of the checkpoints
};

/// Accumulates a TogetherReport over rows.
class LORSA_API TogetherMeter {
 public:
  /// Throws ConfigError for two dictionaries of one site, none, or sites that the model lacks.
  TogetherMeter(const lm::LanguageModel& model, std::vector<Replacement> replacements);
  ~TogetherMeter();
  TogetherMeter(const TogetherMeter&) = delete;
  TogetherMeter& operator=(const TogetherMeter&) = delete;

  /// tokens [B, T] int32 or int64, scored [B, T] bool: outputs are replaced at scored positions
  /// only.
  void add(const at::Tensor& tokens_BT, const at::Tensor& scored_BT);

  /// All but names, checkpoints and kinds.
  [[nodiscard]] TogetherReport report() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Judges a study's members in their sites' places on the held-out rows of its first cache: of any
/// site, for only its tokens are read. Throws ConfigError as TogetherMeter and without a model.
[[nodiscard]] LORSA_API TogetherReport evaluate_together(const study::Study& study,
                                                         const study::PassOptions& pass);

/// Keys as docs/formats.md names them.
[[nodiscard]] LORSA_API io::Json to_json(const TogetherReport& report);

/// A table for the terminal.
[[nodiscard]] LORSA_API std::string to_table(const TogetherReport& report);

}  // namespace lorsa::eval
