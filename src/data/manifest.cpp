#include "lorsa/data/manifest.h"

#include <cmath>
#include <utility>

#include "core/file_content.h"
#include "data/manifest_json.h"
#include "data/shard_format.h"
#include "data/shard_record.h"
#include "io/folder_kind.h"
#include "io/rope_json.h"
#include "io/words.h"
#include "lorsa/core/error.h"
#include "lorsa/io/files.h"

namespace lorsa::data {

int64_t count(const io::Json& object,
              const std::string& key,
              const std::string& where,
              int64_t low) {
  const auto value = io::member<int64_t>(object, key, where);
  LORSA_CHECK(value >= low, FormatError, "{}: {}: expected a whole number >= {}, found {}", where,
              key, low, value);
  return value;
}

namespace {

using io::Json;
using io::member;
using io::value_of;
using io::word_of;

template <typename T>
std::vector<T> list(const Json& object, const std::string& key, const std::string& where) {
  const Json values = member<Json>(object, key, where);
  LORSA_CHECK(values.is_array(), FormatError, "{}: {}: expected a list, not {}", where, key,
              values.type_name());
  std::vector<T> result;
  for (const Json& value : values) {
    // member() knows how to check and name one value: hand it over as a member of that name.
    result.push_back(member<T>(Json{{key, value}}, key, where));
  }
  return result;
}

Json or_null(const std::optional<int64_t>& id) {
  return id ? Json(*id) : Json(nullptr);
}

/// An id; none where the key is absent or null.
std::optional<int64_t> optional_id(const Json& object,
                                   const std::string& key,
                                   const std::string& where) {
  const auto value = io::member_or<Json>(object, key, where, nullptr);
  return value.is_null() ? std::nullopt : std::optional(member<int64_t>(object, key, where));
}

AttentionInfo attention_of(const Json& json, const std::string& where) {
  AttentionInfo attention;
  attention.checksum = member<std::string>(json, "checksum", where);
  attention.attn_scale = member<double>(json, "attn_scale", where);
  attention.qk_norm_eps = member<double>(json, "qk_norm_eps", where);
  attention.rope = io::rope_from_json(member<Json>(json, "rope", where), where + ": rope");
  return attention;
}

Json statistics_json(const Manifest& manifest) {
  const auto stats = [](const ActivationStats& values) {
    return Json{{"mean_norm", values.mean_norm}, {"second_moment", values.second_moment}};
  };
  return Json{{"num_tokens", manifest.num_statistics_tokens},
              {"input", stats(manifest.input_stats)},
              {"target", stats(manifest.target_stats)},
              {"target_mean", manifest.target_mean}};
}

void read_statistics(const Json& json, const std::string& where, Manifest& manifest) {
  const auto stats = [&](const std::string& key) {
    const Json values = member<Json>(json, key, where);
    return ActivationStats{member<double>(values, "mean_norm", where + ": " + key),
                           member<double>(values, "second_moment", where + ": " + key)};
  };
  manifest.num_statistics_tokens = count(json, "num_tokens", where, 0);
  manifest.input_stats = stats("input");
  manifest.target_stats = stats("target");
  manifest.target_mean = list<double>(json, "target_mean", where);
  LORSA_CHECK(static_cast<int64_t>(manifest.target_mean.size()) == manifest.d_model, FormatError,
              "{}: target_mean: expected d_model = {} numbers, found {}", where, manifest.d_model,
              manifest.target_mean.size());
}

void read_shards(const Json& json, const std::string& where, Manifest& manifest) {
  const Json shards = member<Json>(json, "shards", where);
  LORSA_CHECK(shards.is_array(), FormatError, "{}: shards: expected a list", where);
  int64_t rows = 0;
  for (const Json& value : shards) {
    const std::string at = formatted("{}: shards[{}]", where, manifest.shards.size());
    ShardInfo shard{member<std::string>(value, "file", at), count(value, "num_rows", at, 1),
                    member<std::string>(value, "checksum", at)};
    // Also keeps a hostile manifest from naming files elsewhere.
    const std::string expected = shard_file_name(manifest.shards.size());
    LORSA_CHECK(shard.file == expected, FormatError, "{}: file: expected {}, found {}", at,
                expected, shard.file);
    LORSA_CHECK(!__builtin_add_overflow(rows, shard.num_rows, &rows), FormatError,
                "{}: num_rows: expected fewer rows, found {}", at, shard.num_rows);
    manifest.shards.push_back(std::move(shard));
  }
  LORSA_CHECK(rows == manifest.num_rows, FormatError, "{}: num_rows: the shards hold {}, found {}",
              where, rows, manifest.num_rows);
}

void check_counts(const Manifest& manifest, const std::string& where) {
  int64_t tokens = 0;
  int64_t bytes = 0;
  LORSA_CHECK(
      !__builtin_mul_overflow(manifest.num_rows, manifest.context_length, &tokens) &&
          !__builtin_mul_overflow(std::max<int64_t>(tokens, manifest.context_length),
                                  manifest.d_model, &bytes) &&
          !__builtin_mul_overflow(bytes, 8, &bytes),
      FormatError,
      "{}: num_rows, context_length, d_model: expected a size below 2^63 bytes, found {} x {} x {}",
      where, manifest.num_rows, manifest.context_length, manifest.d_model);
  LORSA_CHECK(tokens == manifest.num_tokens, FormatError,
              "{}: num_tokens: the rows hold {}, found {}", where, tokens, manifest.num_tokens);
  LORSA_CHECK(
      manifest.num_heldout_rows <= manifest.num_rows &&
          manifest.num_scored_tokens <= manifest.num_tokens,
      FormatError,
      "{}: num_heldout_rows, num_scored_tokens: expected at most {} and {}, found {} and {}", where,
      manifest.num_rows, manifest.num_tokens, manifest.num_heldout_rows,
      manifest.num_scored_tokens);
}

[[noreturn]] void refuse_without_manifest(const std::filesystem::path& folder) {
  const std::string expected = formatted("an activation cache ({})", kManifestFile);
  const io::Place place = io::describe_folder(folder).place;
  if (place == io::Place::kEmptyFolder || place == io::Place::kOtherFolder) {
    throw IoError(formatted("{}: No such file or directory: expected {}, {}",
                            (folder / kManifestFile), expected,
                            io::found_instead(folder, io::Place::kCache)));
  }
  io::refuse_place(folder, io::Place::kCache, expected);
}

}  // namespace

const std::vector<std::pair<std::string, StoreMode>>& store_words() {
  static const std::vector<std::pair<std::string, StoreMode>> words = {
      {"input_and_target", StoreMode::kInputAndTarget}, {"input", StoreMode::kInput}};
  return words;
}

const std::vector<std::pair<std::string, StoreDtype>>& dtype_words() {
  static const std::vector<std::pair<std::string, StoreDtype>> words = {
      {"bfloat16", StoreDtype::kBFloat16},
      {"float32", StoreDtype::kFloat32},
      {"int8", StoreDtype::kInt8}};
  return words;
}

std::string to_string(StoreMode store) {
  return word_of(store_words(), store);
}

std::string to_string(StoreDtype dtype) {
  return word_of(dtype_words(), dtype);
}

Json plan_json(const Manifest& manifest) {
  return Json{{"model",
               {{"name", manifest.model_name},
                {"architecture", manifest.architecture},
                {"weights_sha256", manifest.weights_sha256}}},
              {"layer", manifest.site.layer},
              {"component", to_string(manifest.site.component)},
              {"input_convention", manifest.input_convention},
              {"store", to_string(manifest.store)},
              {"dtype", to_string(manifest.dtype)},
              {"context_length", manifest.context_length},
              {"d_model", manifest.d_model},
              {"rows_per_shard", manifest.rows_per_shard},
              {"tokens",
               {{"packing", manifest.packing},
                {"prepend_bos", manifest.prepend_bos},
                {"unscored_ids", manifest.unscored_ids},
                {"bos_id", or_null(manifest.bos_id)},
                {"separator_id", or_null(manifest.separator_id)},
                {"own_special_tokens", manifest.own_special_tokens}}},
              {"corpus", manifest.corpus_digests},
              {"config", manifest.config_yaml}};
}

void write_manifest(const std::filesystem::path& folder, const Manifest& manifest) {
  Json json = {{"format", "lorsa activation cache"}, {"schema", Manifest::kSchema}};
  json.update(plan_json(manifest));
  if (manifest.attention) {
    json["attention"] = {{"file", kAttentionFile},
                         {"checksum", manifest.attention->checksum},
                         {"attn_scale", manifest.attention->attn_scale},
                         {"qk_norm_eps", manifest.attention->qk_norm_eps},
                         {"rope", io::rope_to_json(manifest.attention->rope, io::RopeKeys::kUsed)}};
  }
  json["complete"] = manifest.complete;
  if (manifest.complete) {
    json["num_rows"] = manifest.num_rows;
    json["num_heldout_rows"] = manifest.num_heldout_rows;
    json["num_tokens"] = manifest.num_tokens;
    json["num_scored_tokens"] = manifest.num_scored_tokens;
    json["statistics"] = statistics_json(manifest);
    json["shards"] = Json::array();
    for (const ShardInfo& shard : manifest.shards) {
      json["shards"].push_back(
          {{"file", shard.file}, {"num_rows", shard.num_rows}, {"checksum", shard.checksum}});
    }
  }
  io::write_sealed_json(folder / kManifestFile, json);
}

Manifest read_manifest(const std::filesystem::path& folder) {
  const std::string where = (folder / kManifestFile).string();
  if (!is_there(folder / kManifestFile)) {
    refuse_without_manifest(folder);
  }
  const std::string text = io::read_file(folder / kManifestFile);
  const Json json = io::parse_json_file(text, folder / kManifestFile);
  Manifest manifest;
  manifest.schema = member<int64_t>(json, "schema", where);
  LORSA_CHECK(manifest.schema >= Manifest::kOldestSchema && manifest.schema <= Manifest::kSchema,
              FormatError, "{}: schema: expected {} to {}, found {} (written by another version)",
              where, Manifest::kOldestSchema, Manifest::kSchema, manifest.schema);
  if (manifest.schema > 1) {
    io::check_seal(text, where);
  }
  const Json model = member<Json>(json, "model", where);
  manifest.model_name = member<std::string>(model, "name", where + ": model");
  manifest.architecture = member<std::string>(model, "architecture", where + ": model");
  manifest.weights_sha256 = member<std::string>(model, "weights_sha256", where + ": model");
  manifest.site.layer = count(json, "layer", where, 0);
  if (manifest.schema > 2) {
    manifest.site.component = value_of(component_words(), json, "component", where);
  }
  manifest.input_convention = member<std::string>(json, "input_convention", where);
  manifest.store = value_of(store_words(), json, "store", where);
  manifest.dtype = value_of(dtype_words(), json, "dtype", where);
  manifest.context_length = count(json, "context_length", where, 1);
  manifest.d_model = count(json, "d_model", where, 1);
  manifest.rows_per_shard = count(json, "rows_per_shard", where, 1);
  const Json tokens = member<Json>(json, "tokens", where);
  manifest.packing = member<std::string>(tokens, "packing", where + ": tokens");
  manifest.prepend_bos = member<bool>(tokens, "prepend_bos", where + ": tokens");
  manifest.unscored_ids = list<int64_t>(tokens, "unscored_ids", where + ": tokens");
  manifest.bos_id = optional_id(tokens, "bos_id", where + ": tokens");
  manifest.separator_id = optional_id(tokens, "separator_id", where + ": tokens");
  manifest.own_special_tokens = io::member_or<std::string>(
      tokens, "own_special_tokens", where + ": tokens", "kept");  // older caches
  manifest.corpus_digests = list<std::string>(json, "corpus", where);
  manifest.config_yaml = member<std::string>(json, "config", where);
  if (manifest.site.component == Component::kAttention) {
    manifest.attention =
        attention_of(member<Json>(json, "attention", where), where + ": attention");
  }
  LORSA_CHECK(manifest.attention || manifest.store == StoreMode::kInputAndTarget, FormatError,
              "{}: store: expected {} for an MLP, found {}", where,
              to_string(StoreMode::kInputAndTarget), to_string(manifest.store));
  manifest.complete = member<bool>(json, "complete", where);
  if (!manifest.complete && manifest.schema > 1) {
    set_totals(manifest, read_shard_records(folder, manifest.d_model));
    check_counts(manifest, where);
    return manifest;
  }
  manifest.num_rows = count(json, "num_rows", where, 0);
  manifest.num_heldout_rows = count(json, "num_heldout_rows", where, 0);
  manifest.num_tokens = count(json, "num_tokens", where, 0);
  manifest.num_scored_tokens = count(json, "num_scored_tokens", where, 0);
  check_counts(manifest, where);
  if (manifest.complete) {
    read_statistics(member<Json>(json, "statistics", where), where + ": statistics", manifest);
  }
  read_shards(json, where, manifest);
  return manifest;
}

int64_t shard_number(const ShardInfo& shard) {
  const std::optional<int64_t> number = shard_index(shard.file);
  LORSA_CHECK(number.has_value(), Error, "{}: not the name of a shard", shard.file);
  return *number;
}

double normalization_scale(const ActivationStats& stats, int64_t d_model) {
  LORSA_CHECK(stats.mean_norm > 0.0 && std::isfinite(stats.mean_norm), FormatError,
              "mean norm: expected a positive number, found {} (no scored training tokens?)",
              stats.mean_norm);
  return std::sqrt(static_cast<double>(d_model)) / stats.mean_norm;
}

}  // namespace lorsa::data
