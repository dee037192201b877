#include <algorithm>
#include <chrono>

#include "core/clock.h"
#include "job.h"
#include "lorsa/collect/extract.h"
#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "row_batches.h"
#include "row_source.h"

namespace lorsa::collect {
namespace {

using Clock = std::chrono::steady_clock;

/// Tokenising goes on for so long before the rest of a corpus is estimated.
constexpr double kCountSeconds = 2.0;

/// Counts the rows, or estimates them, into `plan`. Returns a first batch for the probe.
RowBatch count_rows(const Job& job, const lm::Tokenizer& tokenizer, ExtractPlan& plan) {
  const Clock::time_point start = Clock::now();
  RowSource source(job.data, tokenizer, source_options(job));
  RowBatch first = source.next();
  int64_t rows = static_cast<int64_t>(first.rows.size());
  bool ended = first.rows.empty();
  while (!ended && seconds_since(start) < kCountSeconds) {
    const RowBatch batch = source.next();
    ended = batch.rows.empty();
    rows += static_cast<int64_t>(batch.rows.size());
  }
  if (!ended) {
    const double expected = source.rows_per_byte() * static_cast<double>(source.corpus_bytes());
    plan.rows_are_estimated = expected < static_cast<double>(job.max_rows);
    rows = plan.rows_are_estimated ? static_cast<int64_t>(expected) : job.max_rows;
  }
  plan.num_rows = rows;
  plan.num_tokens = rows * job.data.context_length;
  plan.corpus_ends_first = plan.num_tokens < job.data.max_tokens;
  return first;
}

/// Tokens per second of the second of two equal passes: the first one grows memory pools.
double measured_rate(const Job& job, const RowBatch& batch) {
  const lm::LanguageModel model = load_model(job);
  const data::RowBlock block = without_activations(batch.rows);
  const std::vector<Site> sites = job.open_sites();
  double seconds = 0.0;
  for (int pass = 0; pass < 2; ++pass) {
    const Clock::time_point start = Clock::now();
    for (const lm::SiteActivations& site : model.activations(block.tokens_BT, sites)) {
      // Waits for a device that works in the background.
      static_cast<void>(site.output_BTD.to(at::kCPU));
    }
    seconds = seconds_since(start);
  }
  return static_cast<double>(block.tokens_BT.numel()) / seconds;
}

}  // namespace

ExtractPlan plan_extraction(const ExtractConfig& config) {
  const Job job = prepare_job(config, {});
  const NumThreads threads(config.run.threads);
  const lm::Tokenizer tokenizer(config.model.path);
  ExtractPlan plan;
  const RowBatch batch = count_rows(job, tokenizer, plan);
  LORSA_CHECK(!batch.rows.empty(), FormatError,
              "data.files: the corpus does not fill one row of data.context_length = {} tokens",
              config.data.context_length);
  plan.num_sites = static_cast<int64_t>(job.sites.size());
  plan.rows_done = job.rows_done(plan.num_rows);
  plan.bytes_per_site = job.bytes_per_site(plan.num_rows);
  plan.needed_bytes = job.needed_bytes(plan.num_rows);
  plan.free_bytes = job.free_bytes();
  if (!job.complete()) {
    plan.tokens_per_s = measured_rate(job, batch);
    const auto tokens_left =
        static_cast<double>((plan.num_rows - plan.rows_done) * config.data.context_length);
    plan.seconds = tokens_left / plan.tokens_per_s;
  }
  return plan;
}

}  // namespace lorsa::collect
