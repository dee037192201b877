#include "lorsa/eval/convert.h"

#include <set>
#include <system_error>

#include "eval/readings.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/progress.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/io/files.h"
#include "lorsa/io/pending_folder.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/model/initialize.h"

namespace lorsa::eval {
namespace {

namespace fs = std::filesystem;
using model::CheckpointKind;
using model::Normalization;
using model::ReadAs;

bool holds_only_checkpoint_files(const fs::path& folder) {
  static const std::set<std::string> kFiles = {
      "lorsa.json",     "model.safetensors",     "config.json",     "sae_weights.safetensors",
      "lorsa.json.tmp", "model.safetensors.tmp", "config.json.tmp", "sae_weights.safetensors.tmp"};
  if (!fs::is_directory(folder)) {
    return false;
  }
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!entry.is_regular_file() || !kFiles.contains(entry.path().filename().string())) {
      return false;
    }
  }
  return true;
}

void check_output(const ConvertOptions& options) {
  const fs::path out = io::without_trailing_slash(options.output);
  LORSA_CHECK(!out.empty() && out.filename() != "." && out.filename() != "..", ConfigError,
              "OUTPUT: \"{}\" names no new folder", options.output);
  if (fs::exists(out) && !(fs::is_directory(out) && fs::is_empty(out))) {
    std::error_code unused;
    LORSA_CHECK(!fs::equivalent(options.input, out, unused), ConfigError,
                "{}: is the input; give another OUTPUT", out);
    LORSA_CHECK(options.existing == ConvertOptions::Existing::kReplace, ConfigError,
                "{}: exists; give another OUTPUT, or --force to replace it", out);
    LORSA_CHECK(holds_only_checkpoint_files(out), ConfigError,
                "{}: holds more than a checkpoint's files: it is not replaced; give another OUTPUT",
                out);
  }
  for (const char* suffix : {".tmp", ".old"}) {
    const fs::path path = io::beside(out, suffix);
    LORSA_CHECK(!fs::exists(path) || holds_only_checkpoint_files(path), ConfigError,
                "{}: is in the way and holds other files; remove it or give another OUTPUT", path);
  }
}

model::ImportedDictionary read_input(const ConvertOptions& options, CheckpointKind from) {
  switch (from) {
    case CheckpointKind::kOwn: {
      model::LoadedDictionary loaded = model::load_checkpoint(options.input);
      const bool folded = loaded.info.normalization == Normalization::kFolded;
      return {std::move(loaded), std::nullopt, folded ? "folded" : "scaled", true, "float32", {}};
    }
    case CheckpointKind::kLlamascopium:
      return model::load_llamascopium(options.input, options.read_as);
    case CheckpointKind::kOriginal:
      return model::load_original(options.input, options.read_as);
  }
  throw Error("unknown kind of checkpoint");
}

model::ImportedDictionary read_layer(const ConvertOptions& options) {
  const int64_t layer = *options.mhsa_layer;
  const lm::LanguageModel language(
      options.input, c10::Device(c10::kCPU),
      {.dtype = "float32", .num_layers = layer + 1, .head = lm::Head::kSkip});
  const kernels::Mhsa attention = language.attention(layer);
  model::CheckpointInfo info;
  info.model_name = language.config().name;
  info.weights_sha256 = language.weights_sha256();
  info.site = {layer, Component::kAttention};
  info.input_convention =
      lm::input_convention(language.config().layers.at(static_cast<size_t>(layer)));
  return {{model::of_attention(attention), info}, std::nullopt, "raw weights", true, "float32", {}};
}

void check_options(const ConvertOptions& options, CheckpointKind from, CheckpointKind to) {
  if (options.mhsa_layer) {
    LORSA_CHECK(!options.from && options.read_as == ReadAs::kStated && options.cache.empty(),
                ConfigError,
                "--from-mhsa: INPUT is a language model: leave out --from, --normalization and "
                "--cache");
  }
  LORSA_CHECK(to != CheckpointKind::kOriginal, ConfigError,
              "--to: original: the original repository's files are read, not written");
  LORSA_CHECK(
      from != CheckpointKind::kOwn || options.read_as == ReadAs::kStated, ConfigError,
      "--normalization: {} is a lorsa checkpoint, which states its normalization for certain",
      options.input);
  LORSA_CHECK(from != CheckpointKind::kOwn || options.cache.empty(), ConfigError,
              "--cache: {} is a lorsa checkpoint: judge it with lorsa-eval", options.input);
  LORSA_CHECK(to == CheckpointKind::kLlamascopium || !options.n_ctx, ConfigError,
              "--n-ctx: only llamascopium's files have it");
}

/// Makes the checkpoint one of the cache's layer.
void take_identity(const fs::path& folder,
                   const data::Manifest& manifest,
                   model::ImportedDictionary& imported) {
  model::CheckpointInfo& info = imported.loaded.info;
  const auto refuse_unless = [&](bool equal, const char* what, const auto& ours,
                                 const auto& theirs) {
    LORSA_CHECK(equal, ConfigError,
                "--cache: {} is not of the checkpoint's layer: its {} is {}, the checkpoint's {}",
                folder, what, theirs, ours);
  };
  const int64_t width = imported.loaded.dictionary.shape().d_model;
  refuse_unless(width == manifest.d_model, "d_model", width, manifest.d_model);
  refuse_unless(manifest.site.component == info.site.component, "component",
                to_string(info.site.component), to_string(manifest.site.component));
  refuse_unless(info.site.layer < 0 || info.site.layer == manifest.site.layer, "layer",
                info.site.layer, manifest.site.layer);
  refuse_unless(info.weights_sha256.empty() || info.weights_sha256 == manifest.weights_sha256,
                "language model (SHA-256 of its weights)", info.weights_sha256,
                manifest.weights_sha256);
  info.model_name = manifest.model_name;
  info.weights_sha256 = manifest.weights_sha256;
  info.site = manifest.site;
  info.input_convention = manifest.input_convention;
}

const char* word(Normalization normalization) {
  return normalization == Normalization::kFolded ? "folded" : "scaled";
}

/// What the input leaves open about its normalization.
void warn_about_reading(const ConvertOptions& options,
                        const model::ImportedDictionary& imported,
                        ConvertReport& report) {
  if (report.readings && report.readings->better() != report.info.normalization) {
    report.warnings.push_back(formatted(
        "the weights are read as {}, but reconstruct the cache better as {}: see --normalization",
        word(report.info.normalization), word(report.readings->better())));
  }
  if (!report.readings && options.read_as == ReadAs::kStated && !imported.certain) {
    report.warnings.push_back(
        formatted("{}: says dataset-wise, which llamascopium also writes for weights that it "
                  "folded afterwards: --cache tells, --normalization folded corrects",
                  report.input));
  }
}

/// The mask of a long context is larger than many disks: known before anything is written.
void check_space(const ConvertOptions& options,
                 const model::LoadedDictionary& loaded,
                 ConvertReport& report) {
  report.bytes = model::llamascopium_bytes(loaded.dictionary, loaded.info, options.n_ctx);
  const auto free = static_cast<double>(io::free_bytes(options.output));
  LORSA_CHECK(report.bytes <= free, IoError,
              "{}: the disk cannot hold the checkpoint: {} needed, most of it for llamascopium's "
              "mask of n_ctx x n_ctx bytes; {} free; a smaller --n-ctx needs less",
              options.output, format_bytes(report.bytes), format_bytes(free));
}

void write_output(const ConvertOptions& options,
                  CheckpointKind to,
                  const model::LoadedDictionary& loaded) {
  io::remove_tree(io::beside(io::without_trailing_slash(options.output), ".tmp"));
  io::PendingFolder folder(options.output);
  if (to == CheckpointKind::kOwn) {
    model::save_checkpoint(folder.path(), loaded.dictionary, loaded.info);
  } else {
    model::save_llamascopium(folder.path(), loaded.dictionary, loaded.info, options.n_ctx);
  }
  folder.commit();
}

}  // namespace

ConvertReport convert(const ConvertOptions& options) {
  const CheckpointKind from = options.from         ? *options.from
                              : options.mhsa_layer ? CheckpointKind::kOwn
                                                   : model::detect_kind(options.input);
  const bool is_own_checkpoint = from == CheckpointKind::kOwn && !options.mhsa_layer;
  const CheckpointKind to =
      options.to.value_or(is_own_checkpoint ? CheckpointKind::kLlamascopium : CheckpointKind::kOwn);
  check_options(options, from, to);
  check_output(options);
  model::ImportedDictionary imported =
      options.mhsa_layer ? read_layer(options) : read_input(options, from);

  ConvertReport report;
  if (!options.cache.empty()) {
    const data::CacheReader cache(options.cache);
    take_identity(options.cache, cache.manifest(), imported);
    report.readings = judge_readings(imported, cache);
  }
  report.from = from;
  report.to = to;
  report.source = options.mhsa_layer ? formatted("the attention of layer {}", *options.mhsa_layer)
                                     : to_string(from);
  report.input = options.input.string();
  report.output = options.output.string();
  report.shape = imported.loaded.dictionary.shape();
  report.info = imported.loaded.info;
  report.stated = imported.stated;
  report.dtype = imported.dtype;
  report.warnings = imported.remarks;
  warn_about_reading(options, imported, report);
  for (const std::string& warning : report.warnings) {
    log_warning("{}", warning);
  }
  if (to == CheckpointKind::kLlamascopium) {
    // Refuses what cannot be said there, before anything is written and without writing, too.
    static_cast<void>(model::llamascopium_config(imported.loaded.dictionary, imported.loaded.info,
                                                 options.n_ctx));
    check_space(options, imported.loaded, report);
  }
  if (options.write == ConvertOptions::Write::kYes) {
    write_output(options, to, imported.loaded);
    report.written = true;
  }
  return report;
}

}  // namespace lorsa::eval
