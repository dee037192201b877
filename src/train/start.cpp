#include "train/start.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "lorsa/core/error.h"
#include "lorsa/core/seed.h"
#include "lorsa/data/sampler.h"
#include "lorsa/model/initialize.h"

namespace lorsa::train {
namespace {

namespace fs = std::filesystem;

// Sequences that initialisation looks at: 8,192 tokens at context 256, enough for the
// 64-dimensional subspaces of one head.
constexpr int64_t kInitRows = 32;

// What may differ between the sessions of one run.
const std::set<std::string> kChangeable = {"run.device",
                                           "run.rank_timeout_s",
                                           "run.threads",
                                           "data.read_ahead_batches",
                                           "data.reader_threads",
                                           "train.micro_batch_sequences",
                                           "train.tokens",
                                           "train.learning_rate",
                                           "train.warmup_tokens",
                                           "train.decay_fraction",
                                           "train.clip_norm",
                                           "checkpoint.every_tokens",
                                           "checkpoint.keep",
                                           "log.every_tokens",
                                           "log.dead_window_tokens",
                                           "run.out",
                                           "data.cache"};

model::CheckpointInfo info_for(const std::string& kind, const data::Manifest& manifest) {
  model::CheckpointInfo info;
  info.normalization = model::Normalization::kScaled;
  info.input_scale = data::normalization_scale(manifest.input_stats, manifest.d_model);
  info.target_scale = data::normalization_scale(manifest.target_stats, manifest.d_model);
  if (model::kind_info(kind).reads == model::Hook::kOutput) {
    info.input_scale = info.target_scale;
  }
  info.model_name = manifest.model_name;
  info.weights_sha256 = manifest.weights_sha256;
  info.site = manifest.site;
  info.input_convention = manifest.input_convention;
  return info;
}

model::Dictionary fresh_model(const Member& member, const data::CacheReader& cache) {
  const model::CheckpointInfo& info = member.info;
  const model::DictionaryShape shape = shape_for(member.model, cache);
  const std::vector<int64_t>& rows = cache.rows(data::Side::kTraining);
  const auto num_rows = static_cast<int64_t>(rows.size());
  std::vector<int64_t> sample_rows;
  for (int64_t i = 0; i < std::min(kInitRows, num_rows); ++i) {
    sample_rows.push_back(
        rows[static_cast<size_t>(data::sampled_index(i, num_rows, order_seed(member.data)))]);
  }
  const data::Batch batch = cache.read(sample_rows);
  model::InitSample sample;
  sample.target_BTD = batch.target_BTD.to(at::kFloat) * info.target_scale;
  sample.input_BTD = model::kind_info(shape.kind).reads == model::Hook::kOutput
                         ? sample.target_BTD
                         : batch.input_BTD.to(at::kFloat) * info.input_scale;
  sample.scored_BT = batch.scored_BT;
  sample.target_mean_D = at::tensor(cache.manifest().target_mean, at::kDouble) * info.target_scale;
  sample.input_scale = info.input_scale;
  sample.attention = cache.find_attention();
  return model::Dictionary(
      shape, model::initialize(shape, member.init, sample, static_cast<uint64_t>(member.run.seed)));
}

/// The newest tokens for which every folder has a checkpoint.
std::optional<int64_t> common_checkpoint(const std::vector<Member>& members) {
  std::vector<int64_t> common = members.front().folder.checkpoint_tokens();
  for (const Member& member : members) {
    const std::vector<int64_t> own = member.folder.checkpoint_tokens();
    std::erase_if(common, [&](int64_t tokens) { return std::ranges::count(own, tokens) == 0; });
  }
  return common.empty() ? std::nullopt : std::optional(common.back());
}

/// Beginning anew must not take a training away: only a first checkpoint, which a kill in the
/// middle of checkpoints leaves with some members and not with others, is given up.
void check_may_begin(const std::vector<Member>& members) {
  for (const Member& member : members) {
    const std::vector<int64_t> own = member.folder.checkpoint_tokens();
    LORSA_CHECK(own.size() < 2 && !fs::exists(member.folder.final_checkpoint() / "lorsa.json"),
                ConfigError, "{}: holds a training{}, but {}: use another run.out", member.run.out,
                own.empty() ? std::string() : formatted(" of {} tokens", own.back()),
                members.size() > 1 ? "another of those trained with it has no checkpoint of that"
                                   : "no checkpoint to go on from");
  }
}

void begin(Member& member, const data::CacheReader& cache) {
  member.dictionary = std::make_unique<model::Dictionary>(fresh_model(member, cache));
  member.state.optimizer = fresh_optimizer(member.dictionary->weights());
  member.state.last_active_H = at::zeros({member.model.num_ov_heads}, at::kLong);
}

void resume(Member& member, int64_t tokens) {
  const fs::path checkpoint = member.folder.checkpoint(tokens);
  for (const std::string& change : allowed_changes(checkpoint, member)) {
    member.notes.push_back("resuming with " + change);
  }
  Resumed resumed = RunFolder::load(checkpoint);
  LORSA_CHECK(resumed.loaded.info.weights_sha256 == member.info.weights_sha256 &&
                  resumed.loaded.info.site == member.info.site &&
                  resumed.loaded.info.input_scale == member.info.input_scale &&
                  resumed.loaded.info.target_scale == member.info.target_scale,
              ConfigError, "the run in {} was trained on another cache than {} (model {}, {})",
              member.run.out, member.data.cache, resumed.loaded.info.model_name,
              to_string(resumed.loaded.info.site));
  member.notes.push_back(formatted("resuming at {} tokens from {}", tokens, checkpoint.filename()));
  member.dictionary = std::make_unique<model::Dictionary>(std::move(resumed.loaded.dictionary));
  member.state = std::move(resumed.state);
}

}  // namespace

Member::Member(RunConfig config)
    : run(config.run),
      data(config.data),
      model(config.model),
      init(config.init),
      train(config.train),
      log(config.log),
      folder(config.run.out) {
  config::Fields fields;
  describe(fields, config);
  yaml = config::to_yaml(fields);
  for (const config::Field& field : fields.all()) {
    configuration[field.key] = field.get();
  }
  data.seed = data.seed >= 0 ? data.seed : run.seed;
}

uint64_t order_seed(const RunConfig::Data& data) {
  return stream_seed(static_cast<uint64_t>(data.seed), "order");
}

model::DictionaryShape shape_for(const model::DictionarySettings& settings,
                                 const data::CacheReader& cache) {
  return model::shape_of(settings, cache.manifest().d_model, cache.find_attention());
}

void check_cache(const Member& member, const data::CacheReader& cache) {
  const model::KindInfo& kind = model::kind_info(member.model.kind);
  const Site& site = cache.manifest().site;
  LORSA_CHECK(!kind.component || *kind.component == site.component, ConfigError,
              "model.kind: {} stands for {}, but data.cache = {} holds {}", kind.name,
              to_string(*kind.component), member.data.cache, to_string(site));
  LORSA_CHECK(!cache.rows(data::Side::kTraining).empty(), ConfigError,
              "data.cache = {} holds no training rows: extract more tokens", member.data.cache);
}

std::vector<std::string> allowed_changes(const fs::path& checkpoint, const Member& member) {
  const Configuration saved = RunFolder::saved_configuration(checkpoint);
  std::string refused;
  std::vector<std::string> allowed;
  for (const auto& [key, value] : member.configuration) {
    const auto before = saved.find(key);
    if (before == saved.end() || before->second == value) {
      continue;
    }
    if (kChangeable.contains(key)) {
      allowed.push_back(formatted("{} = {} (was {})", key, value, before->second));
    } else {
      refused += formatted("{}{}: the run has {}, the configuration says {}",
                           refused.empty() ? " " : "; ", key, before->second, value);
    }
  }
  LORSA_CHECK(refused.empty(), ConfigError,
              "the run in {} has another configuration; use another run.out or undo:{}",
              member.run.out, refused);
  return allowed;
}

void start_or_resume(std::vector<Member>& members, const data::CacheReader& cache) {
  for (Member& member : members) {
    member.info = info_for(member.model.kind, cache.manifest());
    member.folder.restore();
  }
  const std::optional<int64_t> tokens = common_checkpoint(members);
  if (!tokens) {
    check_may_begin(members);
  }
  for (Member& member : members) {
    if (tokens) {
      resume(member, *tokens);
    } else {
      begin(member, cache);
    }
  }
}

}  // namespace lorsa::train
