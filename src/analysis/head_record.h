#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "analysis/json_text.h"
#include "lorsa/analysis/head_contexts.h"
#include "lorsa/analysis/logit_effect.h"
#include "lorsa/io/json.h"

namespace lorsa::analysis {

/// Tokens of the logit effect that the index carries for lists and search.
inline constexpr size_t kIndexTokens = 5;

/// A head of the original attention and how much of a Lorsa head it holds.
struct MhsaShare {
  int64_t head = 0;
  double share = 0.0;  ///< of the Lorsa head's output direction inside the head's output space
};

/// All that a dump says of one head.
struct HeadRecord {
  int64_t head = 0;
  int64_t qk_head = 0;
  HeadUsage usage;
  double rate = 0.0;
  std::vector<int64_t> histogram;
  std::vector<HeadContext> contexts;
  LogitEffect effect;

  // Not in every dump:
  std::optional<int64_t> layer;                 ///< in a dump of several layers
  std::map<std::string, double> family_scores;  ///< by family
  std::vector<MhsaShare> mhsa_overlap;          ///< largest share first
};

/// The record as one line of JSON (docs/formats.md).
[[nodiscard]] std::string record_line(const HeadRecord& record, TokenTexts& texts);

/// Token at the strongest context's peak, and the weightiest source of it; -1 without contexts.
[[nodiscard]] int32_t peak_token(const HeadRecord& record);
[[nodiscard]] int32_t source_token(const HeadRecord& record);

/// The head's entry in index.json.
[[nodiscard]] io::Json index_entry(const HeadRecord& record, const TokenTexts& texts);

}  // namespace lorsa::analysis
