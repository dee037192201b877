#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lorsa/config/fields.h"
#include "lorsa/core/api.h"
#include "lorsa/data/corpus.h"
#include "lorsa/data/manifest.h"

namespace lorsa::collect {

/// Configuration of `lorsa-cache extract`.
struct ExtractConfig {
  struct Model {
    std::string path;
    std::string dtype = "auto";
  };

  struct Out {
    std::string path;
    data::StoreMode store = data::StoreMode::kInputAndTarget;
    data::StoreDtype dtype = data::StoreDtype::kBFloat16;
    int64_t shard_bytes = int64_t{8} << 30;
  };

  struct Run {
    std::string device = "auto";
    int64_t batch_sequences = 8;
    int64_t threads = 0;
    double rank_timeout_s = 1800.0;
  };

  std::vector<int64_t> layers;
  std::vector<std::string> components = {"attention"};
  Model model;
  data::CorpusConfig data;
  Out out;
  Run run;
};

/// Adds every key of an extraction.
LORSA_API void describe(config::Fields& fields, ExtractConfig& config);

}  // namespace lorsa::collect
