#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lorsa/model/checkpoint.h"
#include "lorsa/train/state.h"

namespace lorsa::train {

/// Dotted key to YAML value.
using Configuration = std::map<std::string, std::string>;

/// A resumable checkpoint as read back.
struct Resumed {
  model::LoadedDictionary loaded;
  TrainerState state;
};

/// The files of one run: config.yaml, environment.json, metrics.jsonl, log.txt, checkpoints/,
/// final/.
class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path root) : root_(std::move(root)) {}

  [[nodiscard]] const std::filesystem::path& root() const { return root_; }

  [[nodiscard]] std::filesystem::path log() const { return root_ / "log.txt"; }

  [[nodiscard]] std::filesystem::path final_checkpoint() const { return root_ / "final"; }

  /// Puts back what a kill in the middle of replacing a checkpoint left aside. Before anything is
  /// read.
  void restore() const;
  /// Creates the folder and removes what an interrupted write left behind, and checkpoints past
  /// `tokens`.
  void open(int64_t tokens) const;
  void write_config(const std::string& yaml) const;
  void write_environment(const std::string& device, const std::string& ranks) const;

  /// Appends a line to metrics.jsonl.
  void append_metrics(const std::string& line) const;
  /// Drops lines past `tokens`: an earlier session wrote them after its last checkpoint.
  void truncate_metrics(int64_t tokens) const;

  /// Tokens of the finished checkpoints, ascending.
  [[nodiscard]] std::vector<int64_t> checkpoint_tokens() const;
  /// Where the checkpoint of so many tokens lies or would lie.
  [[nodiscard]] std::filesystem::path checkpoint(int64_t tokens) const;
  /// Writes checkpoints/tokens-<12 digits> beside and renames it, then removes all but the newest
  /// `keep`.
  void save(const model::Dictionary& dictionary,
            const model::CheckpointInfo& info,
            const TrainerState& state,
            const Configuration& configuration,
            int64_t keep) const;
  [[nodiscard]] static Resumed load(const std::filesystem::path& checkpoint);
  /// What `checkpoint` was trained with (also final/).
  [[nodiscard]] static Configuration saved_configuration(const std::filesystem::path& checkpoint);

  /// Writes final/ (folded) with a renaming folder.
  void save_final(const model::Dictionary& dictionary,
                  const model::CheckpointInfo& info,
                  const Configuration& configuration) const;

 private:
  std::filesystem::path root_;
};

}  // namespace lorsa::train
