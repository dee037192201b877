#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/core/progress.h"
#include "lorsa/io/json.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/lm/tokenizer.h"
#include "lorsa/model/dictionary.h"
#include "lorsa/study/study.h"

namespace lorsa::analysis {

/// A head belongs to a family if more than this share of its positive z-pattern lies on the
/// family's answers.
inline constexpr double kFamilyShare = 0.5;

/// A head that acts at fewer of the positions with an answer is not scored: a few chance hits would
/// make it a member.
inline constexpr double kLeastActing = 0.01;
inline constexpr int64_t kFewestActs = 4;

/// The names of all families, in the order in which they are reported.
[[nodiscard]] LORSA_API const std::vector<std::string>& family_names();

/// How much is asked.
struct ProbeOptions {
  int64_t num_rows = 16;      ///< rows of each probe
  int64_t num_operands = 16;  ///< arithmetic: operands spread over 0 .. 99, squared prompts a sign
  int64_t num_plots = 8;      ///< arithmetic heads whose operand plots are kept
  uint64_t seed = 0;
};

/// Every head's score in one family.
///
/// A probe is token rows in which some positions have known answers: source positions that a head
/// of the family reads from there. The score of a head is the share of its positive z-pattern that
/// lies on the answers, over all those positions at which it acts: sum of max(z_ij, 0) over answers
/// j / sum over all j (z with the activation's sign where activations are signed).
struct LORSA_API FamilyScores {
  std::string family;
  std::string answer;           ///< where its heads read, in words
  int64_t num_positions = 0;    ///< with a known answer
  double chance = 0.0;          ///< share of answers among all sources: a diffuse head's score
  std::vector<int64_t> acts_H;  ///< positions with an answer at which the head acts
  std::vector<double> score_H;  ///< NaN for heads that act too seldom there

  /// Heads with a score above `share`, best first (equal ones by number).
  [[nodiscard]] std::vector<int64_t> heads_above(double share) const;

  /// The family.
  [[nodiscard]] std::vector<int64_t> heads() const { return heads_above(kFamilyShare); }

  [[nodiscard]] int64_t num_scored() const;  ///< heads that have a score
};

/// A head's activation where the answer to "What is a+b?" is due, for a grid of operands.
struct OperandPlot {
  int64_t head = 0;
  double score = 0.0;                          ///< in the family "arithmetic"
  std::string sign;                            ///< "+", "-" or "*"
  std::vector<int64_t> operands;               ///< of a and of b
  std::vector<std::vector<float>> activation;  ///< [a][b], unit form, 0 where the head does not act
};

struct LORSA_API FamilyReport {
  std::vector<FamilyScores> families;
  std::vector<OperandPlot> plots;
  /// MHSA head whose patterns are closest to a QK head's (eval::PatternReport), by QK head; empty
  /// if not compared.
  std::vector<int64_t> closest_mhsa_S;
  int64_t group = 1;  ///< OV heads of a QK head

  /// family_scores of every head, as a dump's records carry them.
  [[nodiscard]] std::vector<std::map<std::string, double>> by_head() const;
  /// Heads of each family, for --ablate-heads.
  [[nodiscard]] std::map<std::string, std::vector<int64_t>> named_heads() const;
};

/// Scores every head of a folded Lorsa of layer `layer` for every family on probes that the
/// model's own tokenizer cuts: induction, subtoken and character induction, previous token,
/// duplicate token, attention sink, successor, arithmetic, topic (src/analysis/probes.h says what
/// each asks). Runs the blocks up to `layer` on about 25,000 tokens. Throws ConfigError for an SAE,
/// Interrupted if a StopSignal asks.
[[nodiscard]] LORSA_API FamilyReport score_families(const lm::LanguageModel& model,
                                                    const lm::Tokenizer& tokenizer,
                                                    const model::Dictionary& dictionary,
                                                    int64_t layer,
                                                    const ProbeOptions& options,
                                                    Progress::Visible progress);

/// score_families() of a study's member, which is of the first cache's site, with closest_mhsa_S
/// from at most `pattern_rows` held-out rows of that cache (0: none).
[[nodiscard]] LORSA_API FamilyReport head_families(const study::Study& study,
                                                   size_t member,
                                                   int64_t pattern_rows,
                                                   Progress::Visible progress,
                                                   const ProbeOptions& options = {});

/// An object with the keys `families` and `operand_plots` of an evaluation's report
/// (docs/formats.md).
[[nodiscard]] LORSA_API io::Json to_json(const FamilyReport& report);

/// A table for the terminal: of each family how many heads, of how many that act, and the MHSA
/// heads under which they sit.
[[nodiscard]] LORSA_API std::string to_table(const FamilyReport& report);

}  // namespace lorsa::analysis
