#include "job.h"

#include <algorithm>
#include <optional>

#include "identity.h"
#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "row_source.h"

namespace lorsa::collect {
namespace {

/// Upper bound of what a shard holds beside its rows (HDF5's own structures, 4096-byte alignment
/// of nine datasets).
constexpr int64_t kShardOverheadBytes = 256 * 1024;
constexpr int64_t kManifestBytes = 1024 * 1024;

std::vector<int64_t> checked_layers(std::vector<int64_t> layers, const Job& job) {
  LORSA_CHECK(!layers.empty(), ConfigError, "layers: expected at least one layer");
  std::sort(layers.begin(), layers.end());
  for (size_t i = 0; i < layers.size(); ++i) {
    LORSA_CHECK(layers[i] >= 0 && layers[i] < job.model.num_layers, ConfigError,
                "layers: {}: expected 0 to {}, for {} has {} layers", layers[i],
                job.model.num_layers - 1, job.model_path, job.model.num_layers);
    LORSA_CHECK(i == 0 || layers[i] != layers[i - 1], ConfigError, "layers: {} twice", layers[i]);
  }
  return layers;
}

std::vector<Component> checked_components(const std::vector<std::string>& words,
                                          data::StoreMode store) {
  std::vector<Component> components;
  for (const std::string& word : words) {
    const std::optional<Component> component = component_named(word);
    LORSA_CHECK(component, ConfigError, "components: expected attention or mlp, found {}", word);
    LORSA_CHECK(std::find(components.begin(), components.end(), *component) == components.end(),
                ConfigError, "components: {} stands there twice", word);
    components.push_back(*component);
  }
  LORSA_CHECK(!components.empty(), ConfigError, "components: expected attention, mlp or both");
  std::sort(components.begin(), components.end());
  LORSA_CHECK(
      components.back() == Component::kAttention || store == data::StoreMode::kInputAndTarget,
      ConfigError,
      "out.store: input: an MLP's output is not recomputed from its input; caches of "
      "components: [mlp] need input_and_target");
  return components;
}

int64_t most_rows_of_corpus(const data::CorpusConfig& config) {
  const int64_t body = config.context_length - (config.prepend_bos ? 1 : 0);
  return data::most_tokens_of_corpus(config) / body + 1;
}

/// Bytes that one position of an activation takes.
int64_t position_bytes(data::StoreDtype dtype, int64_t d_model) {
  switch (dtype) {
    case data::StoreDtype::kBFloat16:
      return 2 * d_model;
    case data::StoreDtype::kFloat32:
      return 4 * d_model;
    case data::StoreDtype::kInt8:
      break;
  }
  return d_model + 4;  // and its scale
}

int64_t row_bytes(const Job& job) {
  const int64_t copies = job.out.store == data::StoreMode::kInputAndTarget ? 2 : 1;
  const int64_t per_token = copies * position_bytes(job.out.dtype, job.model.d_model) + 4 + 1;
  return job.data.context_length * per_token + 8 + 1 + 24;  // document, heldout, checksum
}

int64_t attention_bytes(const lm::ModelConfig& model) {
  const int64_t heads = model.num_heads + model.num_kv_heads;
  return 2 * heads * model.head_width * model.d_model * 4 + 64 * 1024;
}

SiteState find_state(const Job& job, const Site& site) {
  SiteState state;
  state.site = site;
  state.folder = std::filesystem::path(job.out.path) / folder_name(site);
  if (std::filesystem::exists(state.folder / "manifest.json")) {
    const data::Manifest manifest = data::read_manifest(state.folder);
    check_same_configuration(state.folder, manifest.config_yaml, identity_yaml(job, site));
    state.rows_done = manifest.num_rows;
    for (const data::ShardInfo& shard : manifest.shards) {
      state.finished_shards.insert(data::shard_number(shard));
    }
    state.complete = manifest.complete;
    state.corpus_digests = manifest.corpus_digests;
    state.weights_sha256 = manifest.weights_sha256;
  }
  return state;
}

std::string resolved_dtype(const std::string& dtype, c10::Device device) {
  if (dtype != "auto") {
    return dtype;
  }
  return device.is_cpu() ? "float32" : "bfloat16";
}

int64_t temporary_bytes(const std::filesystem::path& folder) {
  int64_t bytes = 0;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == ".tmp" && entry.is_regular_file(ignored)) {
      bytes += static_cast<int64_t>(entry.file_size(ignored));
    }
  }
  return bytes;
}

}  // namespace

bool Job::complete() const {
  return open_sites().empty();
}

std::vector<Site> Job::open_sites() const {
  std::vector<Site> open;
  for (const SiteState& state : sites) {
    if (!state.complete) {
      open.push_back(state.site);
    }
  }
  return open;
}

bool Job::wants(int64_t row) const {
  const int64_t shard = row / rows_per_shard;
  return shard % rank.world_size == rank.rank &&
         std::any_of(sites.begin(), sites.end(), [&](const SiteState& state) {
           return !state.complete && !state.finished_shards.contains(shard);
         });
}

int64_t Job::rows_done(int64_t num_rows) const {
  int64_t done = num_rows;
  for (const SiteState& state : sites) {
    done = state.complete ? done : std::min(done, state.rows_done);
  }
  return done;
}

int64_t Job::bytes_per_site(int64_t num_rows) const {
  const int64_t shards = (num_rows + rows_per_shard - 1) / rows_per_shard;
  return num_rows * bytes_per_row + shards * kShardOverheadBytes + attention_bytes(model) +
         kManifestBytes;
}

int64_t Job::needed_bytes(int64_t num_rows) const {
  int64_t bytes = 0;
  for (const SiteState& state : sites) {
    bytes += state.complete ? 0 : bytes_per_site(std::max<int64_t>(num_rows - state.rows_done, 0));
  }
  // Closing a shard that is not full copies it, one site after the other.
  return complete() ? 0 : bytes + std::min(num_rows, rows_per_shard) * bytes_per_row;
}

int64_t Job::free_bytes() const {
  int64_t bytes = io::free_bytes(out.path);
  for (const SiteState& state : sites) {
    bytes += temporary_bytes(state.folder);
  }
  return bytes;
}

/// What a forward pass holds at least: the residual stream, a layer's input and output, the MLP's.
void check_batch_memory(const Job& job) {
  const int64_t rows = std::min(job.run.batch_sequences, job.max_rows);
  const double tokens = static_cast<double>(rows) * static_cast<double>(job.data.context_length);
  const double width = static_cast<double>(3 * job.model.d_model + 2 * job.model.d_mlp);
  const double item = job.dtype == "float32" ? 4.0 : 2.0;
  check_memory(tokens * width * item, job.device,
               formatted("batches of {} rows of {} tokens (run.batch_sequences)", rows,
                         job.data.context_length));
}

Job prepare_job(const ExtractConfig& config, const ExtractOptions& options) {
  Job job;
  job.model_path = config.model.path;
  job.data = config.data;
  job.out = config.out;
  job.run = config.run;
  job.progress = options.progress;
  job.on_rows = options.on_rows;
  job.rank = options.rank;
  job.device = resolve_device(config.run.device, options.rank.local_rank);
  job.dtype = resolved_dtype(config.model.dtype, job.device);
  job.model = lm::read_model_config(config.model.path);
  const std::vector<int64_t> layers = checked_layers(config.layers, job);
  const std::vector<Component> components = checked_components(config.components, config.out.store);
  const int64_t context = config.data.context_length;
  LORSA_CHECK(context <= job.model.max_positions, ConfigError,
              "data.context_length = {} exceeds the {} positions of {}", context,
              job.model.max_positions, config.model.path);
  // Rounded up: "until the rows hold max_tokens".
  job.max_rows =
      std::min((config.data.max_tokens - 1) / context + 1, most_rows_of_corpus(config.data));
  check_batch_memory(job);
  job.bytes_per_row = row_bytes(job);
  const int64_t batch = config.run.batch_sequences;
  // Whole batches, and no more than all rows: a shard takes its space when it is opened, and one
  // that is not filled has to be copied when it is closed.
  const int64_t batches = std::max<int64_t>(config.out.shard_bytes / job.bytes_per_row / batch, 1);
  job.rows_per_shard = std::min(batches * batch, job.max_rows);
  for (const int64_t layer : layers) {
    for (const Component component : components) {
      job.sites.push_back(find_state(job, {layer, component}));
    }
  }
  return job;
}

lm::LanguageModel load_model(const Job& job) {
  if (job.complete()) {
    return {
        job.model_path, c10::kCPU, {.dtype = "float32", .num_layers = 1, .head = lm::Head::kSkip}};
  }
  return {job.model_path,
          job.device,
          {.dtype = job.dtype,
           .num_layers = job.open_sites().back().layer + 1,
           .head = lm::Head::kSkip,
           .last_component = job.open_sites().back().component}};
}

data::Manifest make_manifest(const Job& job,
                             const Site& site,
                             const lm::Tokenizer& tokenizer,
                             const std::string& weights_sha256,
                             const std::vector<std::string>& corpus_digests) {
  data::Manifest manifest;
  manifest.model_name = job.model.name;
  manifest.architecture = job.model.architecture;
  manifest.weights_sha256 = weights_sha256;
  manifest.site = site;
  manifest.input_convention =
      lm::input_convention(job.model.layers.at(static_cast<size_t>(site.layer)));
  manifest.store = job.out.store;
  manifest.dtype = job.out.dtype;
  manifest.context_length = job.data.context_length;
  manifest.d_model = job.model.d_model;
  manifest.packing = job.data.packing == data::Packing::kPack ? "pack" : "truncate";
  manifest.prepend_bos = job.data.prepend_bos;
  const data::SpecialIds special = special_ids(tokenizer);
  manifest.unscored_ids.assign(special.unscored.begin(), special.unscored.end());
  manifest.bos_id = special.bos;
  manifest.separator_id = data::Packer::separator(special);
  manifest.corpus_digests = corpus_digests;
  manifest.config_yaml = identity_yaml(job, site);
  return manifest;
}

void check_same_sources(const Job& job,
                        const std::string& weights_sha256,
                        const std::vector<std::string>& corpus_digests) {
  for (const SiteState& state : job.sites) {
    if (state.weights_sha256.empty()) {
      continue;
    }
    const std::string refusal = "; choose another out.path or remove the folder";
    LORSA_CHECK(state.weights_sha256 == weights_sha256, ConfigError,
                "{}: holds a cache of other weights (model.path: cache has sha256 {}, found {}){}",
                state.folder, state.weights_sha256, weights_sha256, refusal);
    for (size_t i = 0; i < corpus_digests.size(); ++i) {
      // The number of files is the same, or data.files would have differed.
      LORSA_CHECK(state.corpus_digests.at(i) == corpus_digests[i], ConfigError,
                  "{}: holds a cache of another corpus (data.files: cache has {}, found {}){}",
                  state.folder, state.corpus_digests.at(i), corpus_digests[i], refusal);
    }
  }
}

}  // namespace lorsa::collect
