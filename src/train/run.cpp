#include "lorsa/train/run.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <sstream>

#include "lorsa/core/async_copies.h"
#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/core/launch.h"
#include "lorsa/core/log.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/io/json.h"
#include "lorsa/metrics/event_file.h"
#include "lorsa/metrics/run_report.h"
#include "lorsa/train/trainer.h"
#include "train/memory.h"
#include "train/run_folder.h"
#include "train/start.h"

namespace lorsa::train {
namespace {

namespace fs = std::filesystem;

std::string training_summary(const Member& member) {
  io::Json json;
  json["tokens"] = member.state.tokens_seen;
  json["seconds"] = member.state.train_seconds;
  json["seed"] = member.run.seed;
  json["learning_rate"] = member.train.learning_rate;
  json["optimizer_steps"] = member.state.optimizer.steps;
  return json.dump();
}

double rate_of(int64_t tokens, double seconds) {
  return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
}

// Tokens and seconds of a finished run of this configuration, if the folder holds one.
std::optional<std::pair<int64_t, double>> finished_run(const Member& member) {
  const fs::path final_folder = member.folder.final_checkpoint();
  if (!fs::exists(final_folder / "lorsa.json")) {
    return std::nullopt;
  }
  static_cast<void>(allowed_changes(final_folder, member));
  const model::LoadedDictionary final = model::load_checkpoint(final_folder);
  const std::string where = (final_folder / "lorsa.json").string();
  const io::Json training = io::parse_json(final.info.training_json, where);
  const auto tokens = io::member<int64_t>(training, "tokens", where);
  if (tokens < member.train.tokens) {
    log_info("the finished run has {} tokens: going on to {}", tokens, member.train.tokens);
    return std::nullopt;
  }
  return std::pair(tokens, io::member<double>(training, "seconds", where));
}

std::optional<TrainSummary> finished_runs(const std::vector<Member>& members) {
  TrainSummary summary;
  summary.already_done = true;
  for (const Member& member : members) {
    const auto finished = finished_run(member);
    if (!finished) {
      return std::nullopt;
    }
    summary.tokens = finished->first;
    summary.seconds = finished->second;
    summary.final_checkpoints.push_back(member.folder.final_checkpoint());
  }
  summary.tokens_per_s = rate_of(summary.tokens, summary.seconds);
  return summary;
}

data::LoaderOptions loader_options(const RunConfig::Data& settings,
                                   const dist::Communicator& communicator,
                                   int64_t start_position) {
  data::LoaderOptions options;
  options.rank = communicator.rank();
  options.world_size = communicator.world_size();
  options.batch_rows = settings.batch_sequences / options.world_size;
  options.seed = order_seed(settings);
  options.start_position = start_position;
  options.depth = settings.read_ahead_batches;
  const bool on_cuda = communicator.device().is_cuda();
  options.num_threads = reader_threads_for(settings, communicator.device());
  options.pin_memory = on_cuda;
  options.form = on_cuda ? data::BatchForm::kStored : data::BatchForm::kReady;
  return options;
}

void move_to(c10::Device device, Member& member) {
  for (model::DictionaryWeights* weights :
       {&member.dictionary->weights(), &member.state.optimizer.first_moment,
        &member.state.optimizer.second_moment}) {
    for (const auto& [name, tensor] : weights->named()) {
      *tensor = tensor->to(device);
    }
  }
  member.state.last_active_H = member.state.last_active_H.to(device);
}

std::unique_ptr<dist::Communicator> meet(const RunConfig::Run& run, int64_t batch_sequences) {
  dist::Options options;
  options.rank = launch_rank();
  options.timeout_s = run.rank_timeout_s;
  options.device = resolve_device(run.device, options.rank.local_rank);
  LORSA_CHECK(batch_sequences % options.rank.world_size == 0, ConfigError,
              "data.batch_sequences = {} cannot be split over {} ranks", batch_sequences,
              options.rank.world_size);
  return dist::make_communicator(options);
}

/// What rank 0 writes of a run while it goes on; on other ranks nothing.
class Records {
 public:
  /// Keeps so many of the newest checkpoints of every member.
  Records(std::vector<Member>& members,
          int64_t keep,
          const dist::Communicator& communicator,
          Progress::Visible progress)
      : members_(members),
        keep_(keep),
        writes_(communicator.rank() == 0),
        bar_("train",
             members.front().train.tokens,
             "tokens",
             members.front().state.tokens_seen,
             writes_ ? progress : Progress::Visible::kNo) {
    if (!writes_) {
      return;
    }
    for (Member& member : members_) {
      member.folder.open(member.state.tokens_seen);
      member.folder.truncate_metrics(member.state.tokens_seen);
    }
    log_file_ = std::make_unique<LogFile>(members_.front().folder.log());
    for (Member& member : members_) {
      for (const std::string& note : member.notes) {
        log_info("{}", note);
      }
      member.folder.write_config(member.yaml);
      member.folder.write_environment(device_description(communicator.device()),
                                      communicator.description());
      events_.emplace_back(member.folder.root(), member.state.tokens_seen);
    }
  }

  void metrics_line(size_t member, const std::string& line) {
    if (!writes_) {
      return;
    }
    members_[member].folder.append_metrics(line);
    events_[member].append_line(line);
    if (member == 0) {
      last_fvu_ = io::Json::parse(line).value("fvu", 0.0);
    }
  }

  void step_done(int64_t tokens, double loss) {
    const Member& first = members_.front();
    std::ostringstream note;
    note.precision(3);
    note << "loss " << loss << "  fvu " << last_fvu_ << "  K "
         << top_k_at(first.train, first.model.top_k, tokens);
    bar_.update(std::min(tokens, first.train.tokens), note.str());
  }

  void checkpoint() {
    if (!writes_) {
      return;
    }
    for (Member& member : members_) {
      member.info.training_json = training_summary(member);
      member.folder.save(*member.dictionary, member.info, member.state, member.configuration,
                         keep_);
    }
    write_reports();
  }

  void finish() {
    bar_.finish();
    for (metrics::EventFile& events : events_) {
      events.finish();
    }
  }

  void save_final() {
    for (Member& member : members_) {
      if (ends_as_jumprelu(member.train.final_activation, member.model.activation)) {
        const TrainerState& state = member.state;
        member.dictionary->to_jumprelu(
            state.threshold_sum / static_cast<double>(std::max<int64_t>(state.threshold_count, 1)));
      }
      member.info.training_json = training_summary(member);
      member.dictionary->fold(member.info.input_scale, member.info.target_scale);
      member.info.normalization = model::Normalization::kFolded;
      if (writes_) {
        member.folder.save_final(*member.dictionary, member.info, member.configuration);
      }
    }
  }

 private:
  void write_reports() const {
    for (const Member& member : members_) {
      const fs::path& folder = member.folder.root();
      // Before the first line there is nothing to show.
      if (fs::exists(folder / "metrics.jsonl")) {
        metrics::write_run_report({folder}, folder / "report.html");
      }
    }
  }

  std::vector<Member>& members_;
  const int64_t keep_;
  const bool writes_;
  std::unique_ptr<LogFile> log_file_;
  std::vector<metrics::EventFile> events_;
  Progress bar_;
  double last_fvu_ = 0.0;
};

void log_start(const std::vector<Member>& members, const dist::Communicator& communicator) {
  const Member& first = members.front();
  log_info("training {} on {} of {}{}, {} tokens, {}{}",
           formatted("{} {}", first.model.num_ov_heads,
                     first.model.num_qk_heads > 0 ? "OV heads" : "features"),
           to_string(first.info.site), first.info.model_name,
           members.size() > 1 ? formatted(" and {} more Lorsas", members.size() - 1) : "",
           format_si(static_cast<double>(first.train.tokens)),
           device_description(communicator.device()),
           communicator.world_size() > 1 ? ", " + communicator.description() : "");
}

std::vector<Learner> make_learners(std::vector<Member>& members,
                                   const data::CacheReader& cache,
                                   dist::Communicator& communicator) {
  const int64_t rank_sequences = members.front().data.batch_sequences / communicator.world_size();
  const std::vector<int64_t> parts =
      micro_batch_sequences(members, cache, rank_sequences, communicator.device(),
                            device_memory_bytes(communicator.device()));
  std::vector<Learner> learners;
  for (size_t i = 0; i < members.size(); ++i) {
    Member& member = members[i];
    move_to(communicator.device(), member);
    learners.emplace_back(
        Learner::Settings{member.train, member.log,
                          computes_in_bfloat16(member.run.precision, communicator.device())},
        Learner::Parts{*member.dictionary, member.state, communicator, parts[i]});
  }
  const int64_t smallest = *std::min_element(parts.begin(), parts.end());
  if (communicator.rank() == 0 && smallest < rank_sequences) {
    log_info("each step computes {} sequences {} at a time", rank_sequences, smallest);
  }
  return learners;
}

TrainSummary summary_of(const std::vector<Member>& members) {
  const TrainerState& state = members.front().state;
  TrainSummary summary;
  summary.tokens = state.tokens_seen;
  summary.seconds = state.train_seconds;
  summary.tokens_per_s = rate_of(summary.tokens, summary.seconds);
  for (const Member& member : members) {
    summary.final_checkpoints.push_back(member.folder.final_checkpoint());
  }
  return summary;
}

void log_end(const TrainSummary& summary) {
  log_info("trained {} tokens in {}, {} tokens/s; wrote {}", summary.tokens,
           format_duration(summary.seconds), format_si(summary.tokens_per_s),
           summary.final_checkpoints.front());
}

/// The members agree in shared_settings(); those of the first stand for all.
TrainSummary train_members(std::vector<Member>& members,
                           const RunConfig::Checkpoint& checkpoint,
                           Progress::Visible progress) {
  const Member& first = members.front();
  const std::unique_ptr<dist::Communicator> communicator =
      meet(first.run, first.data.batch_sequences);
  const NumThreads threads(first.run.threads);
  if (const auto done = finished_runs(members)) {
    communicator->finish();
    return *done;
  }
  const data::CacheReader cache(first.data.cache);
  for (const Member& member : members) {
    check_cache(member, cache);
  }
  if (communicator->device().is_cpu()) {
    check_host_memory(members, cache, first.data.batch_sequences / communicator->world_size());
  }
  start_or_resume(members, cache);
  // Nobody writes before everybody has read.
  communicator->barrier();
  Records records(members, checkpoint.keep, *communicator, progress);
  if (communicator->rank() == 0) {
    log_start(members, *communicator);
  }
  std::vector<Learner> learners = make_learners(members, cache, *communicator);
  const TrainerState& state = first.state;
  data::ActivationLoader loader(cache, loader_options(first.data, *communicator, state.rows_seen));
  const std::unique_ptr<AsyncCopies> copies = make_async_copies(communicator->device());
  Trainer::Hooks hooks;
  hooks.metrics_line = [&](size_t member, const std::string& line) {
    records.metrics_line(member, line);
  };
  hooks.checkpoint = [&] { records.checkpoint(); };
  hooks.step_done = [&](int64_t tokens, double loss) { records.step_done(tokens, loss); };
  hooks.stop_requested = [] { return StopSignal::requested(); };
  Trainer trainer({first.train.tokens, first.log.every_tokens, checkpoint.every_tokens},
                  {cache, loader, *communicator, learners, communicator->device(), copies.get()},
                  hooks);
  const bool finished = trainer.run();
  records.finish();
  if (!finished) {
    communicator->finish();
    throw Interrupted(formatted(
        "stopped at {} of {} tokens; a checkpoint is written: run the same command again to go on",
        state.tokens_seen, first.train.tokens));
  }
  records.save_final();
  communicator->finish();
  TrainSummary summary = summary_of(members);
  if (communicator->rank() == 0) {
    log_end(summary);
  }
  return summary;
}

}  // namespace

TrainSummary train(const RunConfig& config, Progress::Visible progress) {
  return train_together({config}, progress);
}

TrainSummary train_together(const std::vector<RunConfig>& configs, Progress::Visible progress) {
  std::vector<Member> members;
  for (const RunConfig& config : configs) {
    validate(config);
    members.emplace_back(config);
  }
  check_together(members);
  return train_members(members, configs.front().checkpoint, progress);
}

}  // namespace lorsa::train
