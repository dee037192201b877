// One pass over the corpus for all sites: a RowSource tokenises ahead, the calling thread runs the
// model, LayerWriters store. Everything that can be refused is refused before a folder is made.
#include "lorsa/collect/extract.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <future>
#include <thread>

#include "core/clock.h"
#include "io/input_stream.h"
#include "job.h"
#include "layer_writers.h"
#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/data/cache_writer.h"
#include "row_batches.h"
#include "row_source.h"

namespace lorsa::collect {
namespace {

void check_space(const Job& job) {
  const int64_t needed = job.needed_bytes(job.max_rows);
  const int64_t free = job.free_bytes();
  LORSA_CHECK(needed <= free, IoError,
              "{}: the disk cannot hold the cache: {} bytes needed ({}), {} bytes free ({}); lower "
              "data.max_tokens or set out.store = input",
              job.out.path, needed, format_bytes(static_cast<double>(needed)), free,
              format_bytes(static_cast<double>(free)));
}

/// Opens (or continues) the folders of the open sites.
std::vector<std::unique_ptr<data::CacheWriter>> open_writers(
    const Job& job,
    const lm::LanguageModel& model,
    const lm::Tokenizer& tokenizer,
    const std::vector<std::string>& corpus_digests) {
  std::vector<std::unique_ptr<data::CacheWriter>> writers;
  for (const SiteState& state : job.sites) {
    if (state.complete) {
      continue;
    }
    const data::Manifest manifest =
        make_manifest(job, state.site, tokenizer, model.weights_sha256(), corpus_digests);
    writers.push_back(std::make_unique<data::CacheWriter>(
        state.folder, manifest,
        state.site.component == Component::kAttention ? model.attention(state.site.layer)
                                                      : kernels::Mhsa(),
        job.rows_per_shard,
        data::WriterRank{job.rank.rank, job.rank.world_size, job.run.rank_timeout_s}));
  }
  return writers;
}

/// Rows the caches will have, for people: exact where max_tokens ends the pass; where the corpus
/// may, estimated from what is packed already.
int64_t expected_rows(const Job& job, const RowSource& source) {
  const double rows = source.rows_per_byte() * static_cast<double>(source.corpus_bytes());
  return rows > 0 && rows < static_cast<double>(job.max_rows) ? static_cast<int64_t>(rows)
                                                              : job.max_rows;
}

/// Feeds batches to the model and the results to the writers until the rows end or a signal comes.
/// Returns the number of rows that the caches get, those of other ranks included.
int64_t run_pass(const Job& job,
                 const lm::LanguageModel& model,
                 RowSource& source,
                 RowBatch batch,
                 LayerWriters& writers) {
  const int64_t context = job.data.context_length;
  const std::vector<Site> sites = job.open_sites();
  int64_t rows = batch.first_row;
  const int64_t expected = expected_rows(job, source);
  Progress progress("extract", expected * context, "tokens", rows * context, job.progress);
  for (; !batch.rows.empty(); batch = source.next()) {
    const data::RowBlock shared = without_activations(batch.rows);
    const auto activations = model.activations(shared.tokens_BT, sites);
    LayerBatch result{batch.first_row, {}};
    for (const lm::SiteActivations& site : activations) {
      data::RowBlock block = shared;
      block.input_BTD = site.input_BTD;
      block.target_BTD = site.output_BTD;
      result.blocks.push_back(std::move(block));
    }
    writers.push(std::move(result));
    rows = batch.first_row + static_cast<int64_t>(batch.rows.size());
    progress.update(rows * context);
    if (job.on_rows) {
      job.on_rows(rows);
    }
    if (StopSignal::requested() && rows < job.max_rows) {
      writers.drain();
      progress.finish();
      throw Interrupted(
          formatted("stopped by a signal after {} of about {} rows; finished shards are kept, run "
                    "the same command again to go on",
                    rows, expected));
    }
  }
  progress.finish();
  return batch.first_row;
}

void fill_report(const Job& job, ExtractReport& report) {
  for (const SiteState& state : job.sites) {
    report.folders.push_back(state.folder);
  }
  if (job.rank.rank != 0) {
    return;
  }
  const data::Manifest manifest = data::read_manifest(report.folders.front());
  report.num_rows = manifest.num_rows;
  report.num_heldout_rows = manifest.num_heldout_rows;
  report.num_tokens = manifest.num_tokens;
  report.corpus_ended = report.num_tokens < job.data.max_tokens;
}

/// "rows begin with <s> (id 1), </s> (id 2) between documents; not scored: 1, 2".
std::string token_line(const Job& job, const lm::Tokenizer& tokenizer) {
  const data::CorpusConfig& config = job.data;
  const data::SpecialIds special = special_ids(tokenizer);
  const auto named = [&](std::optional<int32_t> id) {
    return id ? formatted("{} (id {})", tokenizer.token_text(*id), *id) : "nothing";
  };
  std::string unscored;
  for (const int32_t id : special.unscored) {
    unscored += formatted("{}{}", unscored.empty() ? "" : ", ", id);
  }
  return formatted(
      "rows begin with {}{}; not scored: {}", config.prepend_bos ? named(special.bos) : "text",
      config.packing == data::Packing::kPack
          ? formatted(", {} between documents", named(data::Packer::separator(special)))
          : "",
      unscored.empty() ? "none" : unscored);
}

void warn_about(const Job& job, const ExtractReport& report) {
  if (job.rank.rank != 0) {
    return;
  }
  if (report.corpus_ended) {
    log_warning(
        "the corpus ended after {} of data.max_tokens = {} tokens; the cache is complete with "
        "those",
        report.num_tokens, job.data.max_tokens);
  }
  if (report.num_heldout_rows == 0 && job.data.holdout_fraction > 0) {
    log_warning(
        "no row is held out: data.holdout_fraction = {} of so few documents does not fill one; "
        "evaluation needs some",
        job.data.holdout_fraction);
  }
  if (report.num_heldout_rows == report.num_rows) {
    log_warning("every row is held out: nothing is left to train on");
  }
}

/// Damage shows where packed data are read; what max_tokens leaves unread is not known to be sound.
void say_what_was_not_read(const Job& job, const RowSource& source, int64_t num_rows) {
  const std::vector<std::string>& files = job.data.files;
  const bool packed = std::any_of(files.begin(), files.end(),
                                  [](const std::string& file) { return io::is_packed(file); });
  if (packed && num_rows >= job.max_rows && source.corpus_bytes_read() < source.corpus_bytes()) {
    log_info(
        "data.max_tokens is reached after {} of the corpus's {}; the packed data behind were not "
        "read, nor checked for damage",
        format_bytes(static_cast<double>(source.corpus_bytes_read())),
        format_bytes(static_cast<double>(source.corpus_bytes())));
  }
}

}  // namespace

ExtractReport extract(const ExtractConfig& config, const ExtractOptions& options) {
  const Job job = prepare_job(config, options);
  if (job.rank.rank == 0) {
    for (const SiteState& state : job.sites) {
      if (state.complete) {
        data::remove_leftovers_of_complete_cache(state.folder);
      }
    }
  }
  // One rank looks: others may be writing already. They begin a new cache behind rank 0.
  if (!job.complete() && job.rank.rank == 0) {
    check_space(job);
  }
  const NumThreads threads(config.run.threads);
  ExtractReport report;
  report.rank = job.rank;
  const lm::LanguageModel model = load_model(job);
  // Reading all weights and the whole corpus once: both while the tokenizer is built and the first
  // rows are packed.
  std::future<const std::string*> sha256 =
      std::async(std::launch::async, [&model] { return &model.weights_sha256(); });
  const std::vector<std::string> digests = data::CorpusReader(config.data).digests();
  if (job.complete()) {
    check_same_sources(job, *sha256.get(), digests);
    report.already_complete = true;
    fill_report(job, report);
    report.rows_before = report.num_rows;
    return report;
  }
  const lm::Tokenizer tokenizer(config.model.path);
  const auto start = std::chrono::steady_clock::now();
  RowSourceOptions rows = source_options(job);
  rows.wanted = [&job](int64_t row) { return job.wants(row); };
  RowSource source(config.data, tokenizer, rows);
  RowBatch first = source.next();
  LORSA_CHECK(!first.rows.empty() || first.first_row > 0, FormatError,
              "data.files: the corpus does not fill one row of data.context_length = {} tokens",
              config.data.context_length);
  check_same_sources(job, *sha256.get(), digests);
  log_info("extract: {}{}{} in {} on {}{}{}", job.open_sites().size(),
           job.open_sites().size() == 1 ? " site of " : " sites of ", job.model.name, job.dtype,
           device_description(job.device),
           first.first_row > 0 ? formatted(", from row {} on", first.first_row) : "",
           job.rank.world_size > 1
               ? formatted(", rank {} of {}", job.rank.rank, job.rank.world_size)
               : "");
  log_info("extract: {}", token_line(job, tokenizer));
  LayerWriters writers(
      open_writers(job, model, tokenizer, digests),
      config.out.dtype == data::StoreDtype::kBFloat16 ? at::kBFloat16 : at::kFloat);
  report.num_rows = run_pass(job, model, source, std::move(first), writers);
  if (job.rank.rank == 0) {
    say_what_was_not_read(job, source, report.num_rows);
  }
  writers.finish(report.num_rows);
  report.rows_before = job.rows_done(report.num_rows);
  report.write_wait_s = writers.wait_s();
  report.seconds = seconds_since(start);
  fill_report(job, report);
  warn_about(job, report);
  return report;
}

}  // namespace lorsa::collect
