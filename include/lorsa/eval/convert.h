#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lorsa/config/fields.h"
#include "lorsa/core/api.h"
#include "lorsa/model/interchange.h"

namespace lorsa::eval {

struct ConvertOptions {
  std::filesystem::path input;
  std::filesystem::path output;
  std::optional<model::CheckpointKind> from;  ///< nothing: what the input's files are
  std::optional<model::CheckpointKind>
      to;  ///< nothing: lorsa for others', llamascopium for lorsa's
  /// INPUT is a language model's folder: write the Lorsa that is this layer's attention; -1: it is
  /// a checkpoint.
  int64_t mhsa_layer = -1;
  model::ReadAs read_as = model::ReadAs::kStated;
  std::filesystem::path cache;  ///< of the layer, for others' checkpoints; empty: none
  int64_t n_ctx = 0;            ///< as save_llamascopium() takes it; 0: none
  bool force = false;           ///< replaces a folder that holds a checkpoint
  bool dry_run = false;         ///< does everything but write
};

LORSA_API void describe(config::Fields& fields, ConvertOptions& options);

/// How well the weights reconstruct the layer, read as scaled and as folded ones.
struct LORSA_API Readings {
  int64_t num_rows = 0;
  std::optional<double> fvu_scaled;  ///< nothing where the files hold no scales
  double fvu_folded = 0.0;
  double l0_scaled = 0.0;
  double l0_folded = 0.0;

  [[nodiscard]] model::Normalization better() const;
};

struct ConvertReport {
  model::CheckpointKind from = model::CheckpointKind::kOwn;
  model::CheckpointKind to = model::CheckpointKind::kOwn;
  std::string input;
  std::string output;
  std::string source;  ///< what INPUT holds, in words
  model::DictionaryShape shape;
  model::CheckpointInfo info;  ///< as written
  std::string stated;          ///< the input's own word for its normalization
  std::string dtype;           ///< of the weights in the input
  std::optional<Readings> readings;
  std::vector<std::string> warnings;
  double bytes = 0.0;  ///< of a llamascopium output, about
  bool written = false;
};

/// Reads a checkpoint and writes it as another kind. The output folder appears complete or not at
/// all.
///
/// With a cache the checkpoint's language model and layer become the cache's, so that lorsa-eval
/// and lorsa-dump take it, and both readings of its weights are judged on at most kReadingRows rows
/// of it. Where the better reading is not the one that is written, that is a warning.
///
/// With `mhsa_layer` the input is no checkpoint but a language model's folder, and what is written
/// is model::of_attention() of that layer.
///
/// Warnings are in the report. Throws ConfigError for options that contradict each other or the
/// input, for an output that exists, and for a cache of another layer; IoError for more than the
/// disk can hold, before anything is written; FormatError and IoError as the readers and writers
/// do.
[[nodiscard]] LORSA_API ConvertReport convert(const ConvertOptions& options);

inline constexpr int64_t kReadingRows = 8;

/// What convert() did, for the terminal.
[[nodiscard]] LORSA_API std::string report_text(const ConvertReport& report);

}  // namespace lorsa::eval
