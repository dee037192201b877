#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "lorsa/collect/extract.h"
#include "lorsa/core/site.h"
#include "lorsa/data/manifest.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/lm/tokenizer.h"

namespace lorsa::collect {

/// One site's folder as the extraction finds it.
struct SiteState {
  Site site;
  std::filesystem::path folder;
  int64_t rows_done = 0;  ///< in finished shards
  std::set<int64_t> finished_shards;
  bool complete = false;
  std::vector<std::string> corpus_digests;  ///< of its manifest; empty where there is none
  std::string weights_sha256;
};

/// An extraction, checked against the model's config.json and the folders that are there, before
/// anything heavy is loaded.
struct Job {
  std::string model_path;
  std::string dtype;  ///< of the model, resolved
  data::CorpusConfig data;
  ExtractConfig::Out out;
  ExtractConfig::Run run;
  Progress::Visible progress = Progress::Visible::kYes;
  std::function<void(int64_t)> on_rows;  ///< ExtractOptions'
  LaunchRank rank;
  c10::Device device = c10::kCPU;
  lm::ModelConfig model;
  std::vector<SiteState> sites;  ///< ascending
  int64_t max_rows = 0;
  int64_t rows_per_shard = 0;  ///< a multiple of the batch (see RowSource::next()) or all rows
  int64_t bytes_per_row = 0;

  [[nodiscard]] bool complete() const;
  /// Sites that still need rows, ascending.
  [[nodiscard]] std::vector<Site> open_sites() const;
  /// True if an open site needs row `row` from this rank: shard i is that of rank i % world size.
  [[nodiscard]] bool wants(int64_t row) const;
  /// Of num_rows rows of every site, those in finished shards of all open sites.
  [[nodiscard]] int64_t rows_done(int64_t num_rows) const;
  /// Bytes that all open sites still need at most at a time if the cache gets num_rows rows.
  [[nodiscard]] int64_t needed_bytes(int64_t num_rows) const;
  [[nodiscard]] int64_t bytes_per_site(int64_t num_rows) const;
  /// Free bytes at out.path, with what an earlier run's temporary files will give back.
  [[nodiscard]] int64_t free_bytes() const;
};

/// Takes configuration and options apart. Throws as extract() documents.
[[nodiscard]] Job prepare_job(const ExtractConfig& config, const ExtractOptions& options);

/// The model with the blocks that the open sites need; one block, on the CPU, if all are complete
/// and only its digest is wanted.
[[nodiscard]] lm::LanguageModel load_model(const Job& job);

/// Everything of a site's manifest but rows, shards and statistics.
[[nodiscard]] data::Manifest make_manifest(const Job& job,
                                           const Site& site,
                                           const lm::Tokenizer& tokenizer,
                                           const std::string& weights_sha256,
                                           const std::vector<std::string>& corpus_digests);

/// Refuses (ConfigError) to go on with sites that were made from another corpus or other weights.
void check_same_sources(const Job& job,
                        const std::string& weights_sha256,
                        const std::vector<std::string>& corpus_digests);

}  // namespace lorsa::collect
