#include "lorsa/train/run.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>
#include <sstream>

#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/seed.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/data/sampler.h"
#include "lorsa/io/json.h"
#include "lorsa/train/trainer.h"
#include "train/run_folder.h"

namespace lorsa::train {
namespace {

namespace fs = std::filesystem;

// Sequences that initialisation looks at: 8,192 tokens at context 256, enough for the
// 64-dimensional subspaces of one head.
constexpr int64_t kInitRows = 32;

// What may differ between the sessions of one run.
const std::set<std::string> kChangeable = {"run.device",
                                           "run.threads",
                                           "data.read_ahead_batches",
                                           "data.reader_threads",
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

uint64_t order_seed(const RunConfig& config) {
  return stream_seed(static_cast<uint64_t>(config.run.seed), "order");
}

model::LorsaShape shape_for(const RunConfig& config, const data::CacheReader& cache) {
  const kernels::Mhsa& layer = cache.attention();
  model::LorsaShape shape;
  shape.d_model = cache.manifest().d_model;
  shape.num_ov_heads = config.model.num_ov_heads;
  shape.num_qk_heads = config.model.num_qk_heads;
  shape.d_qk = config.model.d_qk;
  shape.top_k = config.model.top_k;
  shape.activation = config.model.activation;
  const bool same_width = shape.d_qk == layer.head_width();
  const double standard =
      same_width ? layer.attn_scale : std::sqrt(static_cast<double>(shape.d_qk));
  shape.attn_scale = config.model.attn_scale > 0 ? config.model.attn_scale : standard;
  shape.qk_norm = layer.q_norm.defined();
  shape.qk_norm_eps = layer.qk_norm_eps;
  shape.rope = layer.rope;
  if (!same_width && shape.rope.rotary_dim > 0) {
    // A layer that rotates whole heads gets a Lorsa that does; partial rotary keeps its width as
    // far as it fits.
    const bool whole = layer.rope.rotary_dim == layer.head_width();
    shape.rope.rotary_dim =
        (whole ? shape.d_qk : std::min(layer.rope.rotary_dim, shape.d_qk)) / 2 * 2;
  }
  model::validate(shape);
  return shape;
}

model::CheckpointInfo info_for(const data::Manifest& manifest) {
  model::CheckpointInfo info;
  info.normalization = model::Normalization::kScaled;
  info.input_scale = data::normalization_scale(manifest.input_stats, manifest.d_model);
  info.target_scale = data::normalization_scale(manifest.target_stats, manifest.d_model);
  info.model_name = manifest.model_name;
  info.weights_sha256 = manifest.weights_sha256;
  info.layer = manifest.layer;
  info.input_convention = manifest.input_convention;
  return info;
}

model::Lorsa fresh_model(const RunConfig& config,
                         const data::CacheReader& cache,
                         const model::CheckpointInfo& info) {
  const model::LorsaShape shape = shape_for(config, cache);
  const std::vector<int64_t>& rows = cache.rows(data::Side::kTraining);
  const auto num_rows = static_cast<int64_t>(rows.size());
  std::vector<int64_t> sample_rows;
  for (int64_t i = 0; i < std::min(kInitRows, num_rows); ++i) {
    sample_rows.push_back(
        rows[static_cast<size_t>(data::sampled_index(i, num_rows, order_seed(config)))]);
  }
  const data::Batch batch = cache.read(sample_rows);
  model::InitSample sample;
  sample.input_BTD = batch.input_BTD.to(at::kFloat) * info.input_scale;
  sample.target_BTD = batch.target_BTD.to(at::kFloat) * info.target_scale;
  sample.scored_BT = batch.scored_BT;
  sample.target_mean_D = at::tensor(cache.manifest().target_mean, at::kDouble) * info.target_scale;
  sample.input_scale = info.input_scale;
  sample.attention = &cache.attention();
  return model::Lorsa(
      shape, model::initialize(shape, config.init, sample, static_cast<uint64_t>(config.run.seed)));
}

void move_to(c10::Device device, model::LorsaWeights& weights) {
  for (const auto& [name, tensor] : weights.named()) {
    *tensor = tensor->to(device);
  }
}

// Refuses a changed configuration; returns what changed and may.
std::vector<std::string> allowed_changes(const fs::path& checkpoint, const RunConfig& config) {
  const auto saved = RunFolder::saved_config(checkpoint);
  std::string refused;
  std::vector<std::string> allowed;
  for (const auto& [key, value] : flat_config(config)) {
    const auto before = saved.find(key);
    if (before == saved.end() || before->second == value) {
      continue;
    }
    if (kChangeable.contains(key)) {
      allowed.push_back(concat(key, " = ", value, " (was ", before->second, ")"));
    } else {
      refused += concat(refused.empty() ? " " : "; ",
                        key,
                        ": the run has ",
                        before->second,
                        ", the configuration says ",
                        value);
    }
  }
  LORSA_CHECK(refused.empty(),
              ConfigError,
              "the run in ",
              config.run.out,
              " was started with another configuration; use another run.out or undo:",
              refused);
  return allowed;
}

struct Start {
  model::Lorsa lorsa;
  TrainerState state;
  std::vector<std::string> notes;  // for the log, which opens once nothing can be refused any more
};

Start start_or_resume(const RunConfig& config,
                      const data::CacheReader& cache,
                      const RunFolder& folder,
                      const model::CheckpointInfo& info) {
  const auto newest = folder.newest_checkpoint();
  if (!newest) {
    Start start{fresh_model(config, cache, info), {}, {}};
    start.state.optimizer = fresh_optimizer(start.lorsa.weights());
    start.state.last_active_H = at::zeros({config.model.num_ov_heads}, at::kLong);
    return start;
  }
  std::vector<std::string> notes;
  for (const std::string& change : allowed_changes(*newest, config)) {
    notes.push_back("resuming with " + change);
  }
  Resumed resumed = RunFolder::load(*newest);
  LORSA_CHECK(resumed.loaded.info.weights_sha256 == info.weights_sha256 &&
                  resumed.loaded.info.layer == info.layer &&
                  resumed.loaded.info.input_scale == info.input_scale &&
                  resumed.loaded.info.target_scale == info.target_scale,
              ConfigError,
              "the run in ",
              config.run.out,
              " was trained on another cache than ",
              config.data.cache,
              " (model ",
              resumed.loaded.info.model_name,
              ", layer ",
              resumed.loaded.info.layer,
              ")");
  notes.push_back(concat(
      "resuming at ", resumed.state.tokens_seen, " tokens from ", newest->filename().string()));
  return {std::move(resumed.loaded.lorsa), std::move(resumed.state), std::move(notes)};
}

std::string training_summary(const RunConfig& config, const TrainerState& state) {
  io::Json json;
  json["tokens"] = state.tokens_seen;
  json["seconds"] = state.train_seconds;
  json["seed"] = config.run.seed;
  json["learning_rate"] = config.train.learning_rate;
  json["optimizer_steps"] = state.optimizer.steps;
  return json.dump();
}

TrainSummary summary_of(const RunFolder& folder, const TrainerState& state, bool already_done) {
  TrainSummary summary;
  summary.tokens = state.tokens_seen;
  summary.seconds = state.train_seconds;
  summary.tokens_per_s =
      state.train_seconds > 0 ? static_cast<double>(state.tokens_seen) / state.train_seconds : 0.0;
  summary.final_checkpoint = folder.final_checkpoint();
  summary.already_done = already_done;
  return summary;
}

// A finished run of this configuration, if the folder holds one.
std::optional<TrainSummary> finished_run(const RunConfig& config, const RunFolder& folder) {
  if (!fs::exists(folder.final_checkpoint() / "lorsa.json")) {
    return std::nullopt;
  }
  static_cast<void>(allowed_changes(folder.final_checkpoint(), config));
  const model::LoadedLorsa final = model::load_checkpoint(folder.final_checkpoint());
  const std::string where = (folder.final_checkpoint() / "lorsa.json").string();
  const io::Json training = io::parse_json(final.info.training_json, where);
  TrainerState state;
  state.tokens_seen = io::member<int64_t>(training, "tokens", where);
  state.train_seconds = io::member<double>(training, "seconds", where);
  if (state.tokens_seen < config.train.tokens) {
    log_info(
        "the finished run has ", state.tokens_seen, " tokens: going on to ", config.train.tokens);
    return std::nullopt;
  }
  return summary_of(folder, state, true);
}

data::LoaderOptions loader_options(const RunConfig& config, int64_t start_position) {
  data::LoaderOptions options;
  options.batch_rows = config.data.batch_sequences;
  options.seed = order_seed(config);
  options.start_position = start_position;
  options.depth = config.data.read_ahead_batches;
  options.num_threads = config.data.reader_threads;
  return options;
}

void check_cache(const RunConfig& config, const data::CacheReader& cache) {
  LORSA_CHECK(!cache.rows(data::Side::kTraining).empty(),
              ConfigError,
              "data.cache = ",
              config.data.cache,
              " holds no training rows: extract more tokens or lower data.holdout_fraction there");
}

}  // namespace

TrainSummary train(const RunConfig& config, Progress::Visible progress) {
  validate(config);
  const c10::Device device = resolve_device(config.run.device);
  set_num_threads(static_cast<int>(config.run.threads));
  const RunFolder folder(config.run.out);
  if (const auto done = finished_run(config, folder)) {
    return *done;
  }
  const data::CacheReader cache(config.data.cache);
  check_cache(config, cache);
  model::CheckpointInfo info = info_for(cache.manifest());
  Start start = start_or_resume(config, cache, folder, info);
  folder.open();
  folder.truncate_metrics(start.state.tokens_seen);
  const LogFile log_file(folder.log());
  for (const std::string& note : start.notes) {
    log_info(note);
  }
  folder.write_config(config);
  folder.write_environment(device_description(device));
  move_to(device, start.lorsa.weights());
  move_to(device, start.state.optimizer.first_moment);
  move_to(device, start.state.optimizer.second_moment);
  start.state.last_active_H = start.state.last_active_H.to(device);
  log_info("training ",
           config.model.num_ov_heads,
           " OV heads on layer ",
           info.layer,
           " of ",
           info.model_name,
           ", ",
           format_si(static_cast<double>(config.train.tokens)),
           " tokens, ",
           device_description(device));

  data::ActivationLoader loader(cache, loader_options(config, start.state.rows_seen));
  Progress bar("train", config.train.tokens, "tokens", start.state.tokens_seen, progress);
  double last_fvu = 0.0;
  Trainer::Hooks hooks;
  hooks.metrics_line = [&](const std::string& line) {
    folder.append_metrics(line);
    const io::Json json = io::Json::parse(line);
    last_fvu = json.value("fvu", 0.0);
  };
  hooks.checkpoint = [&] {
    info.training_json = training_summary(config, start.state);
    folder.save(start.lorsa, info, start.state, config, config.checkpoint.keep);
  };
  hooks.step_done = [&](int64_t tokens, double loss) {
    std::ostringstream note;
    note.precision(3);
    note << "loss " << loss << "  fvu " << last_fvu << "  K "
         << top_k_at(config.train, config.model.top_k, tokens);
    bar.update(std::min(tokens, config.train.tokens), note.str());
  };
  hooks.stop_requested = [] { return StopSignal::requested(); };
  Trainer trainer(config, {start.lorsa, cache, loader, start.state}, hooks);
  const bool finished = trainer.run();
  bar.finish();
  if (!finished) {
    throw Interrupted(
        concat("stopped at ",
               start.state.tokens_seen,
               " of ",
               config.train.tokens,
               " tokens; a checkpoint is written: run the same command again to go on"));
  }
  info.training_json = training_summary(config, start.state);
  start.lorsa.fold(info.input_scale, info.target_scale);
  info.normalization = model::Normalization::kFolded;
  folder.save_final(start.lorsa, info, config);
  TrainSummary summary = summary_of(folder, start.state, false);
  log_info("trained ",
           summary.tokens,
           " tokens in ",
           format_duration(summary.seconds),
           ", ",
           format_si(summary.tokens_per_s),
           " tokens/s; wrote ",
           folder.final_checkpoint().string());
  return summary;
}

std::string describe_plan(const RunConfig& config) {
  validate(config);
  const data::CacheReader cache(config.data.cache);
  check_cache(config, cache);
  const model::LorsaShape shape = shape_for(config, cache);
  int64_t parameters = 0;
  for (const char* name : {"W_Q", "W_K", "b_Q", "b_K", "W_V", "b_V", "W_O", "b_D"}) {
    int64_t size = 1;
    for (const int64_t n : model::weight_shape(shape, name)) {
      size *= n;
    }
    parameters += size;
  }
  parameters += shape.qk_norm ? 2 * shape.num_qk_heads * shape.d_qk : 0;
  const auto D = static_cast<double>(shape.d_model);
  const auto H = static_cast<double>(shape.num_ov_heads);
  const auto SE = static_cast<double>(shape.num_qk_heads * shape.d_qk);
  const auto T = static_cast<double>(cache.manifest().context_length);
  const auto K = static_cast<double>(shape.top_k);
  // Products: q, k, v and their weight gradients; causal attention (half of T^2) forward 2,
  // backward 5 products of widths E and G; sparse decode: forward, value gradient, weight gradient.
  const double projections = 2.0 * 2.0 * D * (2.0 * SE + H);
  const double attention = 0.5 * 2.0 * T * (SE + H) + 0.5 * 2.0 * T * (3.0 * SE + 2.0 * H);
  const double decode = 3.0 * 2.0 * K * D;
  const int64_t batch_tokens = config.data.batch_sequences * cache.manifest().context_length;
  const auto P = static_cast<double>(batch_tokens);
  const double weights_bytes =
      4.0 * 4.0 * static_cast<double>(parameters);  // weight, gradient, two moments
  // Per token: input and target; q, k, v, z and their gradients; kept heads.
  const double activation_bytes = 4.0 * P * (4.0 * D + 4.0 * SE + 4.0 * H + 3.0 * K);
  const auto num_rows = static_cast<int64_t>(cache.rows(data::Side::kTraining).size());
  const int64_t steps = (config.train.tokens + batch_tokens - 1) / batch_tokens;
  std::ostringstream out;
  out << "model          Lorsa, D " << shape.d_model << ", " << shape.num_ov_heads << " OV heads, "
      << shape.num_qk_heads << " QK heads of " << shape.d_qk << ", K " << shape.top_k << "\n"
      << "parameters     " << parameters << " (" << format_si(static_cast<double>(parameters))
      << ")\n"
      << "memory         about " << format_bytes(weights_bytes + activation_bytes) << ": "
      << format_bytes(weights_bytes) << " weights, gradients and moments, "
      << format_bytes(activation_bytes) << " activations\n"
      << "FLOPs a token  " << format_si(projections + attention + decode) << " (projections "
      << format_si(projections) << ", attention " << format_si(attention) << ", decode "
      << format_si(decode) << ")\n"
      << "cache          " << num_rows << " training rows of " << cache.manifest().context_length
      << " = " << format_si(static_cast<double>(num_rows) * T) << " tokens\n"
      << "training       " << config.train.tokens << " tokens = " << steps << " steps of "
      << batch_tokens << ", "
      << static_cast<double>(config.train.tokens) / (static_cast<double>(num_rows) * T)
      << " passes\n"
      << "run folder     " << config.run.out
      << (fs::exists(config.run.out) ? " (exists: would be continued)" : "") << "\n";
  return out.str();
}

}  // namespace lorsa::train
