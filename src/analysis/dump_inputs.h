#pragma once

#include <vector>

#include "lorsa/analysis/dump.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/lm/tokenizer.h"
#include "lorsa/model/checkpoint.h"

namespace lorsa::analysis {

/// What a dump reads, checked against each other.
struct DumpInputs {
  model::LoadedDictionary loaded;  ///< folded, in unit form, on `device`
  data::CacheReader cache;
  lm::LanguageModel model;  ///< without its blocks: only the unembedding is needed
  lm::Tokenizer tokenizer;
  std::vector<int64_t> rows;  ///< to dump, ascending
  c10::Device device;
};

/// Opens everything. Throws ConfigError for options out of range and for parts that do not belong
/// together, naming both.
[[nodiscard]] DumpInputs open_inputs(const DumpOptions& options);

/// `wanted` of the rows 0 .. available-1, spread evenly; all of them for 0 or more than there are.
[[nodiscard]] std::vector<int64_t> spread_rows(int64_t available, int64_t wanted);

}  // namespace lorsa::analysis
