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

/// One Lorsa of a run: a configuration taken apart, and what start_or_resume() makes of it.
struct Member {
  explicit Member(RunConfig config);

  RunConfig::Run run;
  RunConfig::Data data;  ///< seed resolved
  model::DictionarySettings model;
  model::InitConfig init;
  RunConfig::Train train;
  RunConfig::Log log;
  Configuration configuration;  ///< all of it, as it is saved
  std::string yaml;             ///< the same as a file
  RunFolder folder;

  model::CheckpointInfo info;
  std::unique_ptr<model::Dictionary> dictionary;
  TrainerState state;
  std::vector<std::string>
      notes;  ///< for the log, which opens once nothing can be refused any more
};

/// Throws ConfigError unless the members can be trained together (train_together()).
void check_together(const std::vector<Member>& members);

[[nodiscard]] uint64_t order_seed(const RunConfig::Data& data);

/// What a Lorsa of these settings on this cache looks like. Throws ConfigError.
[[nodiscard]] model::DictionaryShape shape_for(const model::DictionarySettings& settings,
                                               const data::CacheReader& cache);

/// Throws ConfigError if the cache has nothing to train the member on.
void check_cache(const Member& member, const data::CacheReader& cache);

/// Brings the members to the newest checkpoint that all of them have, or begins them. Refuses a
/// changed configuration and another cache with ConfigError; writes nothing.
void start_or_resume(std::vector<Member>& members, const data::CacheReader& cache);

/// Throws ConfigError naming the keys if the member may not go on with what `checkpoint` was
/// trained with; returns what changed and may.
std::vector<std::string> allowed_changes(const std::filesystem::path& checkpoint,
                                         const Member& member);

}  // namespace lorsa::train
