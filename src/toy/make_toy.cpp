#include "lorsa/toy/make_toy.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <chrono>
#include <cmath>
#include <sstream>

#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "lorsa/io/pending_folder.h"
#include "lorsa/kernels/adam.h"
#include "toy/files.h"
#include "toy/target_model.h"
#include "toy/tasks.h"

namespace lorsa::toy {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfigFile = "toy.yaml";
constexpr const char* kSummaryFile = "toy.json";
constexpr int64_t kJudgedRows = 2048;

TaskBatch make_batch(
    const Task& task, uint64_t seed, const char* stream, int64_t first, int64_t count) {
  std::vector<int64_t> tokens, asked, answers, applied, applied_answers;
  std::vector<TaskRow> rows;
  for (int64_t i = 0; i < count; ++i) {
    rows.push_back(task_row(task, seed, stream, first + i));
  }
  const auto T = static_cast<int64_t>(rows.front().tokens.size());
  TaskBatch batch;
  batch.source_BTT = at::zeros({count, T, T});
  float* source = batch.source_BTT.mutable_data_ptr<float>();
  for (int64_t b = 0; b < count; ++b) {
    const TaskRow& row = rows[static_cast<size_t>(b)];
    tokens.insert(tokens.end(), row.tokens.begin(), row.tokens.end());
    for (const Answer& answer : row.answers) {
      asked.push_back(b * T + answer.position);
      answers.push_back(answer.token);
      for (const Application& application : row.applications) {
        if (application.destination == answer.position) {
          applied.push_back(asked.back());
          applied_answers.push_back(answer.token);
        }
      }
    }
    for (const Application& application : row.applications) {
      for (const int64_t position : application.sources) {
        source[(b * T + application.destination) * T + position] = 1.0F;
      }
    }
  }
  batch.tokens_BT = at::tensor(tokens, at::kLong).view({count, T});
  batch.asked_M = at::tensor(asked, at::kLong);
  batch.answer_M = at::tensor(answers, at::kLong);
  batch.applied_M = at::tensor(applied, at::kLong);
  batch.applied_answer_M = at::tensor(applied_answers, at::kLong);
  return batch;
}

double rate_at(const ToyConfig::Train& train, int64_t step) {
  const double left = static_cast<double>(train.steps - step) / static_cast<double>(train.steps);
  return train.learning_rate *
         (train.decay_fraction > 0.0 ? std::min(1.0, left / train.decay_fraction) : 1.0);
}

void train_model(const ToyConfig::Train& settings,
                 const Task& task,
                 uint64_t seed,
                 TargetModel& model,
                 Progress::Visible visible) {
  std::vector<at::Tensor> parameters = model.trained();
  std::vector<at::Tensor> first, second;
  for (at::Tensor& parameter : parameters) {
    parameter.requires_grad_(true);
    first.push_back(at::zeros_like(parameter.detach()));
    second.push_back(at::zeros_like(parameter.detach()));
  }
  Progress bar("train", settings.steps, "steps", 0, visible);
  for (int64_t step = 0; step < settings.steps; ++step) {
    const TaskBatch batch =
        make_batch(task, seed, "toy training", step * settings.batch_rows, settings.batch_rows);
    const at::Tensor loss = model.loss(batch, settings.plant, settings.plant_sharpness);
    const double value = loss.item<double>();
    LORSA_CHECK(std::isfinite(value), Error,
                "the loss of step {} is not finite: lower train.learning_rate = {}", step,
                settings.learning_rate);
    loss.backward();
    kernels::AdamHyper hyper;
    hyper.learning_rate = rate_at(settings, step);
    hyper.step = step + 1;
    for (size_t i = 0; i < parameters.size(); ++i) {
      at::Tensor gradient = parameters[i].grad();
      if (gradient.defined()) {
        at::Tensor values = parameters[i].detach();
        kernels::adam_step_(values, gradient.contiguous(), first[i], second[i], hyper);
        parameters[i].mutable_grad().reset();
      }
    }
    std::ostringstream note;
    note.precision(3);
    note << "loss " << value;
    bar.update(step + 1, note.str());
    if (StopSignal::requested()) {
      throw Interrupted(
          formatted("stopped at step {} of {}; nothing is written: a target model begins anew",
                    step + 1, settings.steps));
    }
  }
  bar.finish();
}

void judge(const Task& task, uint64_t seed, const TargetModel& model, ToySummary& summary) {
  const at::NoGradGuard no_grad;
  const TaskBatch batch = make_batch(task, seed, "toy judging", 0, kJudgedRows);
  const at::Tensor logits_MV = model.logits(batch);
  summary.loss = at::cross_entropy_loss(logits_MV, batch.answer_M).item<double>();
  summary.accuracy = (logits_MV.argmax(-1) == batch.answer_M).to(at::kDouble).mean().item<double>();
}

/// The summary of a folder that a configuration of this identity has made.
std::optional<ToySummary> finished(const fs::path& folder, const std::string& identity) {
  if (!fs::exists(folder / kConfigFile)) {
    LORSA_CHECK(!fs::exists(folder) || fs::is_empty(folder), ConfigError,
                "run.out = {}: holds what lorsa-toy has not made; use another", folder);
    return std::nullopt;
  }
  LORSA_CHECK(io::read_file(folder / kConfigFile) == identity, ConfigError,
              "run.out = {} was made with another configuration ({}); use another", folder,
              kConfigFile);
  const std::string where = (folder / kSummaryFile).string();
  const io::Json json = io::read_json(folder / kSummaryFile);
  ToySummary summary;
  summary.folder = folder;
  summary.num_parameters = io::member<int64_t>(json, "num_parameters", where);
  summary.loss = io::member<double>(json, "loss", where);
  summary.accuracy = io::member<double>(json, "accuracy", where);
  summary.seconds = io::member<double>(json, "seconds", where);
  summary.already_done = true;
  return summary;
}

/// The corpus is made as a whole: what neither memory nor disk can hold is refused before training.
void check_corpus_size(int64_t rows, const Task& task, const fs::path& folder) {
  const double bytes =
      static_cast<double>(rows) * static_cast<double>(task.context_length() - 1) * sizeof(int32_t);
  const std::string what = formatted("corpus.rows = {}", rows);
  check_memory(bytes, c10::kCPU, what);
  const auto free = static_cast<double>(io::free_bytes(folder));
  LORSA_CHECK(bytes <= free, IoError, "{}: corpus.npy takes {}, free are {}", what,
              format_bytes(bytes), format_bytes(free));
}

}  // namespace

ToySummary make_toy(const ToyConfig& config, Progress::Visible progress) {
  validate(config);
  // What the folder's content depends on.
  ToyConfig identified = config;
  identified.run.out.clear();
  identified.run.threads = 0;
  config::Fields fields;
  describe(fields, identified);
  const std::string identity = config::to_yaml(fields);
  if (auto done = finished(config.run.out, identity)) {
    return *done;
  }
  const std::unique_ptr<Task> task = make_task(config.task);
  check_corpus_size(config.corpus.rows, *task, config.run.out);
  const NumThreads threads(config.run.threads);
  const auto seed = static_cast<uint64_t>(config.run.seed);
  TargetModel model(config.model, static_cast<int64_t>(task->words().size()), seed);
  // What a killed call left is written over.
  io::PendingFolder folder(config.run.out, io::PendingFolder::Leftover::kContinue);
  const auto start = std::chrono::steady_clock::now();
  train_model(config.train, *task, seed, model, progress);
  ToySummary summary;
  summary.folder = config.run.out;
  summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (const at::Tensor& parameter : model.trained()) {
    summary.num_parameters += parameter.numel();
  }
  judge(*task, seed, model, summary);
  write_model(folder.path(), config.model, *task, model);
  const int64_t num_heldout =
      write_corpus(folder.path(), config.corpus, *task, seed, config.model.layers - 1);
  io::Json json;
  json["num_parameters"] = summary.num_parameters;
  json["loss"] = summary.loss;
  json["accuracy"] = summary.accuracy;
  json["seconds"] = summary.seconds;
  json["num_heldout_documents"] = num_heldout;
  io::write_json(folder.path() / kSummaryFile, json);
  io::write_file(folder.path() / kConfigFile, identity);
  folder.commit();
  log_info("wrote {}: {} documents, {} held out", config.run.out, config.corpus.rows, num_heldout);
  return summary;
}

}  // namespace lorsa::toy
