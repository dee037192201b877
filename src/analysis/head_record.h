#pragma once

#include <string>
#include <vector>

#include "analysis/json_text.h"
#include "lorsa/analysis/head_contexts.h"
#include "lorsa/analysis/logit_effect.h"
#include "lorsa/io/json.h"

namespace lorsa::analysis {

/// All that a dump says of one head.
struct HeadRecord {
  int64_t head = 0;
  int64_t qk_head = 0;
  HeadUsage usage;
  double rate = 0.0;
  std::vector<int64_t> histogram;
  std::vector<HeadContext> contexts;
  LogitEffect effect;
};

/// The record as one line of JSON (docs/formats.md).
[[nodiscard]] std::string record_line(const HeadRecord& record, TokenTexts& texts);

/// The head's entry in index.json.
[[nodiscard]] io::Json index_entry(const HeadRecord& record, const TokenTexts& texts);

}  // namespace lorsa::analysis
