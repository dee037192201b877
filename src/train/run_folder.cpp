#include "train/run_folder.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/macros/Macros.h>
#include <sys/utsname.h>
#include <torch/version.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <vector>

#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/version.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "lorsa/io/pending_folder.h"
#include "lorsa/io/safetensors.h"

namespace lorsa::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTrainerSchema = "lorsa-trainer-2";
// Knew neither penalties nor thresholds.
constexpr const char* kFirstTrainerSchema = "lorsa-trainer-1";
constexpr const char* kCheckpointPrefix = "tokens-";
constexpr const char* kRunConfig = "run_config.json";

fs::path metrics_path(const fs::path& root) {
  return root / "metrics.jsonl";
}

io::Json window_to_json(const MetricWindow& w) {
  return {{"squared_error", w.squared_error},
          {"squared_deviation", w.squared_deviation},
          {"penalty", w.penalty},
          {"auxiliary_loss", w.auxiliary_loss},
          {"num_scored", w.num_scored},
          {"num_active", w.num_active},
          {"grad_norm", w.grad_norm},
          {"steps", w.steps},
          {"tokens", w.tokens}};
}

MetricWindow window_from_json(const io::Json& json, const std::string& where) {
  MetricWindow w;
  w.squared_error = io::member<double>(json, "squared_error", where);
  w.squared_deviation = io::member<double>(json, "squared_deviation", where);
  w.num_scored = io::member<int64_t>(json, "num_scored", where);
  w.num_active = io::member<int64_t>(json, "num_active", where);
  w.grad_norm = io::member<double>(json, "grad_norm", where);
  w.steps = io::member<int64_t>(json, "steps", where);
  w.tokens = io::member<int64_t>(json, "tokens", where);
  return w;
}

// Writes a checkpoint folder beside and puts it in the place of what stands there. A failure leaves
// nothing behind.
template <typename Write>
void write_folder(const fs::path& target, Write write) {
  io::remove_tree(io::beside(target, ".tmp"));
  io::PendingFolder folder(target);
  write(folder.path());
  io::sync_path(folder.path());
  folder.commit();
}

}  // namespace

void RunFolder::restore() const {
  io::restore_replaced(final_checkpoint());
  if (!fs::exists(root_ / "checkpoints")) {
    return;
  }
  for (const auto& entry : fs::directory_iterator(root_ / "checkpoints")) {
    if (entry.path().extension() == ".old") {
      fs::path name = entry.path();
      io::restore_replaced(name.replace_extension());
    }
  }
}

void RunFolder::open(int64_t tokens) const {
  io::make_directories(root_ / "checkpoints");
  for (const auto& entry : fs::directory_iterator(root_ / "checkpoints")) {
    if (entry.path().extension() == ".tmp" || entry.path().extension() == ".old") {
      fs::remove_all(entry.path());
    }
  }
  for (const int64_t other : checkpoint_tokens()) {
    if (other > tokens) {
      fs::remove_all(checkpoint(other));
    }
  }
  fs::remove_all(root_ / "final.tmp");
  fs::remove_all(root_ / "final.old");
}

void RunFolder::write_config(const std::string& yaml) const {
  io::write_file(root_ / "config.yaml", yaml);
}

void RunFolder::write_environment(const std::string& device, const std::string& ranks) const {
  utsname host{};
  ::uname(&host);
  io::write_json(
      root_ / "environment.json",
      io::Json{{"lorsa_version", version()},
               {"git_revision", git_revision()},
               {"torch_version", TORCH_VERSION},
               {"host", host.nodename},
               {"system", formatted("{} {} {}", host.sysname, host.release, host.machine)},
               {"device", device},
               {"communicator", ranks},
               {"threads", at::get_num_threads()}});
}

void RunFolder::append_metrics(const std::string& line) const {
  std::ofstream out(metrics_path(root_), std::ios::app | std::ios::binary);
  out << line << '\n';
  out.flush();
  LORSA_CHECK(out.good(), IoError, "{}: cannot write (is the disk full?)", metrics_path(root_));
}

void RunFolder::truncate_metrics(int64_t tokens) const {
  const fs::path path = metrics_path(root_);
  if (!fs::exists(path)) {
    return;
  }
  std::string kept;
  std::istringstream lines(io::read_file(path));
  for (std::string line; std::getline(lines, line);) {
    const auto json = io::Json::parse(line, nullptr, /*allow_exceptions=*/false);
    // A line cut by a crash does not parse and is dropped with those past the checkpoint.
    if (!json.is_discarded() && json.value("tokens", tokens + 1) <= tokens) {
      kept += line + "\n";
    }
  }
  io::write_file(path, kept);
}

std::vector<int64_t> RunFolder::checkpoint_tokens() const {
  std::vector<int64_t> found;
  if (fs::exists(root_ / "checkpoints")) {
    for (const auto& entry : fs::directory_iterator(root_ / "checkpoints")) {
      const std::string name = entry.path().filename().string();
      int64_t tokens = 0;
      const char* digits = name.data() + std::string_view(kCheckpointPrefix).size();
      const char* end = name.data() + name.size();
      if (entry.is_directory() && name.starts_with(kCheckpointPrefix) &&
          std::from_chars(digits, end, tokens).ptr == end) {
        found.push_back(tokens);
      }
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

fs::path RunFolder::checkpoint(int64_t tokens) const {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%012lld", static_cast<long long>(tokens));
  return root_ / "checkpoints" / (std::string(kCheckpointPrefix) + digits);
}

void RunFolder::save(const model::Dictionary& dictionary,
                     const model::CheckpointInfo& info,
                     const TrainerState& state,
                     const Configuration& configuration,
                     int64_t keep) const {
  write_folder(checkpoint(state.tokens_seen), [&](const fs::path& folder) {
    model::save_checkpoint(folder, dictionary, info);
    io::NamedTensors tensors;
    for (const auto& [key, tensor] : state.optimizer.first_moment.named()) {
      tensors.emplace_back("first_moment." + key, *tensor);
    }
    for (const auto& [key, tensor] : state.optimizer.second_moment.named()) {
      tensors.emplace_back("second_moment." + key, *tensor);
    }
    tensors.emplace_back("last_active", state.last_active_H);
    io::write_safetensors(folder / "trainer.safetensors", tensors);
    io::write_json(folder / "trainer.json", io::Json{{"schema", kTrainerSchema},
                                                     {"tokens_seen", state.tokens_seen},
                                                     {"rows_seen", state.rows_seen},
                                                     {"train_seconds", state.train_seconds},
                                                     {"optimizer_steps", state.optimizer.steps},
                                                     {"threshold_sum", state.threshold_sum},
                                                     {"threshold_count", state.threshold_count},
                                                     {"window", window_to_json(state.window)}});
    io::write_json(folder / kRunConfig, configuration);
  });
  const std::vector<int64_t> all = checkpoint_tokens();
  for (size_t i = 0; i + static_cast<size_t>(keep) < all.size(); ++i) {
    fs::remove_all(checkpoint(all[i]));
  }
}

Resumed RunFolder::load(const fs::path& checkpoint) {
  const std::string where = (checkpoint / "trainer.json").string();
  const io::Json json = io::read_json(checkpoint / "trainer.json");
  const auto schema = io::member<std::string>(json, "schema", where);
  LORSA_CHECK(schema == kTrainerSchema || schema == kFirstTrainerSchema, FormatError,
              "{}: schema: expected {}, found {}", where, kTrainerSchema, schema);
  model::LoadedDictionary loaded = model::load_checkpoint(checkpoint);
  TrainerState state;
  state.tokens_seen = io::member<int64_t>(json, "tokens_seen", where);
  state.rows_seen = io::member<int64_t>(json, "rows_seen", where);
  state.train_seconds = io::member<double>(json, "train_seconds", where);
  const io::Json window = io::member<io::Json>(json, "window", where);
  state.window = window_from_json(window, where + ": window");
  if (schema == kTrainerSchema) {
    state.threshold_sum = io::member<double>(json, "threshold_sum", where);
    state.threshold_count = io::member<int64_t>(json, "threshold_count", where);
    state.window.penalty = io::member<double>(window, "penalty", where + ": window");
    state.window.auxiliary_loss = io::member<double>(window, "auxiliary_loss", where + ": window");
  }
  state.optimizer = fresh_optimizer(loaded.dictionary.weights());
  state.optimizer.steps = io::member<int64_t>(json, "optimizer_steps", where);
  const io::SafetensorsReader reader(checkpoint / "trainer.safetensors");
  for (const auto& [key, tensor] : state.optimizer.first_moment.named()) {
    *tensor = reader.read_checked("first_moment." + key, tensor->sizes().vec(), at::kFloat);
  }
  for (const auto& [key, tensor] : state.optimizer.second_moment.named()) {
    *tensor = reader.read_checked("second_moment." + key, tensor->sizes().vec(), at::kFloat);
  }
  state.last_active_H = reader.read("last_active");
  const int64_t num_heads = loaded.dictionary.shape().num_ov_heads;
  LORSA_CHECK(state.last_active_H.sizes() == at::IntArrayRef({num_heads}) &&
                  state.last_active_H.scalar_type() == at::kLong,
              FormatError, "{}: last_active: expected I64 [{}], found {} {}", reader.path(),
              num_heads, state.last_active_H.scalar_type(), state.last_active_H.sizes());
  return {std::move(loaded), std::move(state)};
}

Configuration RunFolder::saved_configuration(const fs::path& checkpoint) {
  const fs::path path = checkpoint / kRunConfig;
  const io::Json json = io::read_json(path);
  Configuration configuration;
  for (const auto& [key, value] : json.items()) {
    configuration[key] = io::member<std::string>(json, key, path.string());
  }
  return configuration;
}

void RunFolder::save_final(const model::Dictionary& dictionary,
                           const model::CheckpointInfo& info,
                           const Configuration& configuration) const {
  write_folder(final_checkpoint(), [&](const fs::path& folder) {
    model::save_checkpoint(folder, dictionary, info);
    io::write_json(folder / kRunConfig, configuration);
  });
}

}  // namespace lorsa::train
