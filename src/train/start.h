#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lorsa/data/cache_reader.h"
#include "lorsa/model/checkpoint.h"
#include "lorsa/train/config.h"
#include "lorsa/train/state.h"
#include "train/run_folder.h"

namespace lorsa::train {

/// One Lorsa of a run, fresh or as a checkpoint left it.
struct Member {
  RunConfig config;
  RunFolder folder;
  model::CheckpointInfo info;
  std::unique_ptr<model::Dictionary> dictionary;
  TrainerState state;
  std::vector<std::string>
      notes;  ///< for the log, which opens once nothing can be refused any more
};

/// Throws ConfigError unless the configurations are valid and can be trained together
/// (train_together()).
void check_together(const std::vector<RunConfig>& configs);

[[nodiscard]] uint64_t order_seed(const RunConfig& config);

/// What a Lorsa of this configuration on this cache looks like. Throws ConfigError.
[[nodiscard]] model::DictionaryShape shape_for(const RunConfig& config,
                                               const data::CacheReader& cache);

/// Throws ConfigError if the cache has nothing to train on.
void check_cache(const RunConfig& config, const data::CacheReader& cache);

/// The members at the newest checkpoint that all of them have, or fresh. Refuses a changed
/// configuration and another cache with ConfigError; writes nothing.
[[nodiscard]] std::vector<Member> start_or_resume(const std::vector<RunConfig>& configs,
                                                  const data::CacheReader& cache);

/// Throws ConfigError naming the keys if `config` may not go on with what `checkpoint` was trained
/// with; returns what changed and may.
std::vector<std::string> allowed_changes(const std::filesystem::path& checkpoint,
                                         const RunConfig& config);

}  // namespace lorsa::train
