#include "lorsa/eval/convert.h"

#include <set>
#include <system_error>

#include "eval/readings.h"
#include "lorsa/core/error.h"
#include "lorsa/core/progress.h"
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

enum class Existing { kRefuse, kReplace };

void check_output(const fs::path& input, const fs::path& output, Existing existing) {
  const fs::path out = io::without_trailing_slash(output);
  LORSA_CHECK(!out.empty() && out.filename() != "." && out.filename() != "..", ConfigError,
              "OUTPUT: \"{}\" names no new folder", output);
  if (fs::exists(out) && !(fs::is_directory(out) && fs::is_empty(out))) {
    std::error_code unused;
    LORSA_CHECK(!fs::equivalent(input, out, unused), ConfigError,
                "{}: is the input; give another OUTPUT", out);
    LORSA_CHECK(existing == Existing::kReplace, ConfigError,
                "{}: exists; give another OUTPUT, or `force` to replace it", out);
    LORSA_CHECK(holds_only_checkpoint_files(out), ConfigError,
                "{}: holds more than a checkpoint: not replaced; give another OUTPUT", out);
  }
  for (const char* suffix : {".tmp", ".old"}) {
    const fs::path path = io::beside(out, suffix);
    LORSA_CHECK(!fs::exists(path) || holds_only_checkpoint_files(path), ConfigError,
                "{}: is in the way and holds other files; remove it or give another OUTPUT", path);
  }
}

model::ImportedDictionary read_input(const fs::path& input, CheckpointKind from, ReadAs read_as) {
  switch (from) {
    case CheckpointKind::kOwn: {
      model::LoadedDictionary loaded = model::load_checkpoint(input);
      const bool folded = loaded.info.normalization == Normalization::kFolded;
      return {std::move(loaded), std::nullopt, folded ? "folded" : "scaled", true, "float32", {}};
    }
    case CheckpointKind::kLlamascopium:
      return model::load_llamascopium(input, read_as);
    case CheckpointKind::kOriginal:
      return model::load_original(input, read_as);
  }
  throw Error("unknown kind of checkpoint");
}

model::ImportedDictionary read_layer(const fs::path& model, int64_t layer) {
  const lm::LanguageModel language(
      model, c10::Device(c10::kCPU),
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

void validate(const ConvertOptions& options, CheckpointKind from, CheckpointKind to) {
  if (options.mhsa_layer >= 0) {
    LORSA_CHECK(
        !options.from && options.read_as == ReadAs::kStated && options.cache.empty(), ConfigError,
        "`from_mhsa`: INPUT is a language model: leave out `from`, `normalization` and `cache`");
  }
  LORSA_CHECK(to != CheckpointKind::kOriginal, ConfigError,
              "`to`: original: the original repository's files are read, not written");
  LORSA_CHECK(
      from != CheckpointKind::kOwn || options.read_as == ReadAs::kStated, ConfigError,
      "`normalization`: {} is a lorsa checkpoint, which states its normalization for certain",
      options.input);
  LORSA_CHECK(from != CheckpointKind::kOwn || options.cache.empty(), ConfigError,
              "`cache`: {} is a lorsa checkpoint: judge it with lorsa-eval", options.input);
  LORSA_CHECK(to == CheckpointKind::kLlamascopium || options.n_ctx == 0, ConfigError,
              "`n_ctx`: only llamascopium's files have it");
}

/// Makes the checkpoint one of the cache's layer.
void take_identity(const fs::path& folder,
                   const data::Manifest& manifest,
                   model::ImportedDictionary& imported) {
  model::CheckpointInfo& info = imported.loaded.info;
  const auto refuse_unless = [&](bool equal, const char* what, const auto& ours,
                                 const auto& theirs) {
    LORSA_CHECK(equal, ConfigError,
                "`cache`: {} is not of the checkpoint's layer: its {} is {}, the checkpoint's {}",
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
void warn_about_reading(ReadAs read_as,
                        const model::ImportedDictionary& imported,
                        ConvertReport& report) {
  if (report.readings && report.readings->better() != report.info.normalization) {
    report.warnings.push_back(formatted(
        "the weights are read as {}, but reconstruct the cache better as {}: see `normalization`",
        word(report.info.normalization), word(report.readings->better())));
  }
  if (!report.readings && read_as == ReadAs::kStated && !imported.certain) {
    report.warnings.push_back(
        formatted("{}: says dataset-wise, which llamascopium also writes for weights that it "
                  "folded afterwards: `cache` tells, `normalization` folded corrects",
                  report.input));
  }
}

/// The mask of a long context is larger than many disks: known before anything is written.
void check_space(const model::LoadedDictionary& loaded,
                 std::optional<int64_t> n_ctx,
                 ConvertReport& report) {
  report.bytes = model::llamascopium_bytes(loaded.dictionary, loaded.info, n_ctx);
  const auto free = static_cast<double>(io::free_bytes(report.output));
  LORSA_CHECK(report.bytes <= free, IoError,
              "{}: the disk cannot hold the checkpoint: {} needed, most of it for llamascopium's "
              "mask of n_ctx x n_ctx bytes; {} free; a smaller `n_ctx` needs less",
              report.output, format_bytes(report.bytes), format_bytes(free));
}

void write_output(const fs::path& output,
                  CheckpointKind to,
                  const model::LoadedDictionary& loaded,
                  std::optional<int64_t> n_ctx) {
  io::remove_tree(io::beside(io::without_trailing_slash(output), ".tmp"));
  io::PendingFolder folder(output);
  if (to == CheckpointKind::kOwn) {
    model::save_checkpoint(folder.path(), loaded.dictionary, loaded.info);
  } else {
    model::save_llamascopium(folder.path(), loaded.dictionary, loaded.info, n_ctx);
  }
  folder.commit();
}

}  // namespace

void describe(config::Fields& f, ConvertOptions& o) {
  using Kind = std::optional<CheckpointKind>;
  f.choice<Kind>(
      "from", o.from,
      {{"auto", std::nullopt},
       {"lorsa", CheckpointKind::kOwn},
       {"llamascopium", CheckpointKind::kLlamascopium},
       {"original", CheckpointKind::kOriginal}},
      "What INPUT is: auto (by its files), lorsa, llamascopium, or original (final.pth).");
  f.count("from_mhsa", o.mhsa_layer,
          "INPUT is a language model's folder: write the Lorsa that is the attention of this "
          "layer, with every direction of every head as an OV head and all of them kept.")
      .between(0, 9999);
  f.choice<Kind>("to", o.to,
                 {{"auto", std::nullopt},
                  {"lorsa", CheckpointKind::kOwn},
                  {"llamascopium", CheckpointKind::kLlamascopium}},
                 "What to write: lorsa, llamascopium, or auto (lorsa for others' checkpoints and "
                 "layers, llamascopium for lorsa's).");
  f.choice<ReadAs>(
      "normalization", o.read_as,
      {{"stated", ReadAs::kStated}, {"scaled", ReadAs::kScaled}, {"folded", ReadAs::kFolded}},
      "Read others' weights as scaled or folded ones, whatever the files state.");
  f.path("cache", o.cache,
         "Activation cache of the layer: judges both normalizations, and tells the new checkpoint "
         "which language model and layer it belongs to.");
  f.count("n_ctx", o.n_ctx,
          "Longest context of a llamascopium checkpoint (as INPUT says, else 2048); its file holds "
          "a mask of N x N bytes: 4 MiB at 2048, 1 GiB at 32768, 16 GiB at 131072.")
      .between(1, 0x7FFFFFFF);
  f.boolean("force", o.force, "Replace an OUTPUT that holds a checkpoint.");
  f.boolean("dry_run", o.dry_run, "Read, check and judge; write nothing.");
}

ConvertReport convert(const ConvertOptions& options) {
  const bool is_layer = options.mhsa_layer >= 0;
  const CheckpointKind from = options.from ? *options.from
                              : is_layer   ? CheckpointKind::kOwn
                                           : model::detect_kind(options.input);
  const bool is_own_checkpoint = from == CheckpointKind::kOwn && !is_layer;
  const CheckpointKind to =
      options.to.value_or(is_own_checkpoint ? CheckpointKind::kLlamascopium : CheckpointKind::kOwn);
  const auto n_ctx = options.n_ctx > 0 ? std::optional(options.n_ctx) : std::nullopt;
  validate(options, from, to);
  config::check_ranges_of(options);
  check_output(options.input, options.output,
               options.force ? Existing::kReplace : Existing::kRefuse);
  model::ImportedDictionary imported = is_layer ? read_layer(options.input, options.mhsa_layer)
                                                : read_input(options.input, from, options.read_as);
  ConvertReport report;
  if (!options.cache.empty()) {
    study::Study study("cpu");
    study.open_cache(options.cache);
    take_identity(options.cache, study.cache().manifest(), imported);
    report.readings = judge_readings(imported, study);
  }
  report.from = from;
  report.to = to;
  report.source =
      is_layer ? formatted("the attention of layer {}", options.mhsa_layer) : to_string(from);
  report.input = options.input.string();
  report.output = options.output.string();
  report.shape = imported.loaded.dictionary.shape();
  report.info = imported.loaded.info;
  report.stated = imported.stated;
  report.dtype = imported.dtype;
  report.warnings = imported.remarks;
  warn_about_reading(options.read_as, imported, report);
  if (to == CheckpointKind::kLlamascopium) {
    // Refuses what cannot be said there, before anything is written and without writing, too.
    static_cast<void>(
        model::llamascopium_config(imported.loaded.dictionary, imported.loaded.info, n_ctx));
    check_space(imported.loaded, n_ctx, report);
  }
  if (!options.dry_run) {
    write_output(options.output, to, imported.loaded, n_ctx);
    report.written = true;
  }
  return report;
}

}  // namespace lorsa::eval
