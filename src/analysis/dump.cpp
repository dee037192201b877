#include "lorsa/analysis/dump.h"

#include <ATen/core/Tensor.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <optional>

#include "analysis/activation_pass.h"
#include "analysis/delphi_export.h"
#include "analysis/dump_folder.h"
#include "analysis/dump_inputs.h"
#include "analysis/dump_state.h"
#include "analysis/dump_writer.h"
#include "analysis/patterns.h"
#include "core/clock.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/version.h"
#include "lorsa/eval/mhsa_comparison.h"
#include "lorsa/io/pending_folder.h"

namespace lorsa::analysis {
namespace {

using Clock = std::chrono::steady_clock;

// Original heads that a record names.
constexpr size_t kMhsaShares = 3;
constexpr const char* kDelphiSchema = "lorsa-delphi-1";

HeadCollector new_collector(const DumpInputs& in, const DumpOptions& options) {
  return HeadCollector({in.loaded.dictionary.shape().num_ov_heads, options.num_contexts,
                        options.window_tokens, options.num_quantiles, options.num_non_firing,
                        options.seed});
}

DelphiPlan delphi_plan(const DumpInputs& in, const DumpOptions& options) {
  return {
      options.delphi,
      formatted("layers.{}.{}", in.cache.manifest().site.layer,
                in.cache.manifest().site.component == Component::kAttention ? "self_attn" : "mlp"),
      in.loaded.dictionary.shape().num_ov_heads,
      options.num_delphi_splits,
      static_cast<int64_t>(in.rows.size()),
      in.cache.manifest().context_length};
}

/// The keys of delphi's own config.json, and what made the export.
io::Json delphi_config(const DumpInputs& in, const DumpOptions& options) {
  const data::Manifest& manifest = in.cache.manifest();
  io::Json json;
  json["dataset_repo"] = options.cache.string();
  json["dataset_split"] = "";
  json["dataset_name"] = "";
  json["dataset_column"] = "text";
  json["batch_size"] = options.batch_rows;
  json["cache_ctx_len"] = manifest.context_length;
  json["n_tokens"] = static_cast<int64_t>(in.rows.size()) * manifest.context_length;
  json["n_splits"] = options.num_delphi_splits;
  json["model_name"] = options.model.string();
  json["lorsa"] = {{"schema", kDelphiSchema},
                   {"lorsa_version", version()},
                   {"checkpoint", options.checkpoint.string()},
                   {"layer", manifest.site.layer},
                   {"component", to_string(manifest.site.component)},
                   {"num_heads", in.loaded.dictionary.shape().num_ov_heads}};
  return json;
}

/// The pass over the rows, from where an interrupted one was.
PassState run_pass(const DumpInputs& in,
                   const DumpOptions& options,
                   DumpFolder& folder,
                   std::optional<DelphiExport>& delphi) {
  PassState state{new_collector(in, options)};
  const io::Json identity = pass_identity(in, options);
  if (folder.has_state()) {
    load_state(folder, identity, state);
    if (!options.delphi.empty() && !DelphiExport::is_unfinished(delphi_plan(in, options))) {
      log_warning("dump: the export to {} is gone: begins anew", options.delphi);
      state = PassState{new_collector(in, options)};
      // It speaks of an export that the next one will replace.
      io::remove_tree(folder.state_path());
    }
    log_info("dump: goes on behind row {} of {}", state.rows_done, in.rows.size());
  }
  if (!options.delphi.empty()) {
    delphi.emplace(delphi_plan(in, options), state.exported);
  }
  const auto save = [&] {
    if (delphi) {
      state.exported = delphi->sync();
      delphi->keep_unfinished();
    }
    save_state(folder, identity, state);
  };
  auto saved = Clock::now();
  const bool complete = run_activation_pass(in, options, state, delphi ? &*delphi : nullptr, [&] {
    if (seconds_since(saved) >= options.save_every_s) {
      save();
      saved = Clock::now();
    }
  });
  if (!complete) {
    save();
    throw Interrupted(
        formatted("stopped by a signal behind row {} of {}: run the same command again to go on",
                  state.rows_done, in.rows.size()));
  }
  return state;
}

/// The original attention's heads that hold most of each head's output direction; none of each
/// where the site is no attention.
std::vector<std::vector<MhsaShare>> largest_shares(const DumpInputs& in) {
  if (in.cache.find_attention() == nullptr) {
    return std::vector<std::vector<MhsaShare>>(
        static_cast<size_t>(in.loaded.dictionary.shape().num_ov_heads));
  }
  const at::Tensor share_HN =
      eval::output_shares(in.loaded.dictionary, in.cache.attention()).contiguous();
  const int64_t N = share_HN.size(1);
  std::vector<std::vector<MhsaShare>> largest(static_cast<size_t>(share_HN.size(0)));
  const double* share = share_HN.const_data_ptr<double>();
  for (std::vector<MhsaShare>& shares : largest) {
    for (int64_t n = 0; n < N; ++n) {
      shares.push_back({n, *share++});
    }
    std::stable_sort(shares.begin(), shares.end(),
                     [](const MhsaShare& a, const MhsaShare& b) { return a.share > b.share; });
    shares.resize(std::min<size_t>(shares.size(), kMhsaShares));
  }
  return largest;
}

io::Json summary_json(const DumpInputs& in,
                      const DumpOptions& options,
                      const HeadCollector& collector) {
  const model::DictionaryShape& shape = in.loaded.dictionary.shape();
  const data::Manifest& manifest = in.cache.manifest();
  io::Json json;
  json["schema"] = kDumpSchema;
  json["lorsa_version"] = version();
  json["checkpoint"] = options.checkpoint.string();
  json["cache"] = options.cache.string();
  json["language_model"] = {{"name", manifest.model_name},
                            {"weights_sha256", manifest.weights_sha256},
                            {"layer", manifest.site.layer},
                            {"component", to_string(manifest.site.component)}};
  json["kind"] = shape.kind;
  json["shape"] = {{"d_model", shape.d_model},
                   {"num_ov_heads", shape.num_ov_heads},
                   {"num_qk_heads", shape.num_qk_heads},
                   {"d_qk", shape.d_qk},
                   {"top_k", shape.top_k},
                   {"signed", shape.activation == model::Activation::kTopKSigned}};
  json["context_length"] = manifest.context_length;
  json["num_rows"] = in.rows.size();
  json["num_tokens"] = collector.num_tokens();
  json["num_scored_tokens"] = collector.num_scored_tokens();
  json["contexts_per_head"] = options.num_contexts;
  json["quantile_contexts_per_head"] = options.num_quantiles;
  json["non_firing_contexts_per_head"] = options.num_non_firing;
  json["seed"] = options.seed;
  json["window_tokens"] = std::min(options.window_tokens, manifest.context_length);
  json["histogram"] = {{"bins_per_octave", ActivationBins::kPerOctave},
                       {"lowest_exponent", ActivationBins::kLowestExponent},
                       {"num_bins", ActivationBins::kCount}};
  return json;
}

/// Writes all shards; returns the number of contexts. The logit effects of a shard are computed
/// while the one before is written.
int64_t write_heads(const DumpInputs& in,
                    const DumpOptions& options,
                    HeadCollector& collector,
                    DumpWriter& writer) {
  const model::Dictionary& dictionary = in.loaded.dictionary;
  const int64_t H = dictionary.shape().num_ov_heads;
  std::vector<std::vector<MhsaShare>> shares = largest_shares(in);
  const auto effects_of = [&](int64_t begin) {
    return std::async(std::launch::async, [&, begin] {
      const int64_t count = std::min(kHeadsPerShard, H - begin);
      return logit_effects(in.model, dictionary.weights().W_O.narrow(0, begin, count),
                           options.num_logit_tokens);
    });
  };
  int64_t num_contexts = 0;
  Progress progress("heads", H, "heads", 0, options.progress);
  auto next = effects_of(0);
  for (int64_t begin = 0; begin < H; begin += kHeadsPerShard) {
    std::vector<LogitEffect> effects = next.get();
    const int64_t end = std::min(H, begin + kHeadsPerShard);
    if (end < H) {
      next = effects_of(end);
    }
    std::vector<HeadRecord> records(static_cast<size_t>(end - begin));
    for (int64_t head = begin; head < end; ++head) {
      HeadRecord& record = records[static_cast<size_t>(head - begin)];
      record.head = head;
      record.qk_head = head / dictionary.shape().group();
      record.layer = in.cache.manifest().site.layer;
      record.usage = collector.usage(head);
      record.rate = collector.rate(head);
      record.histogram = collector.histogram(head);
      record.contexts = collector.take_contexts(head);
      record.effect = std::move(effects[static_cast<size_t>(head - begin)]);
      record.mhsa_overlap = std::move(shares[static_cast<size_t>(head)]);
      if (!options.family_scores.empty()) {
        record.family_scores = options.family_scores[static_cast<size_t>(head)];
      }
      num_contexts += static_cast<int64_t>(record.contexts.size());
    }
    writer.write_shard(records);
    progress.update(end);
  }
  progress.finish();
  return num_contexts;
}

int64_t peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;  // Linux counts in KiB
}

DumpReport report_of(const DumpInputs& in, const HeadCollector& collector) {
  DumpReport report;
  report.num_heads = in.loaded.dictionary.shape().num_ov_heads;
  report.num_rows = static_cast<int64_t>(in.rows.size());
  report.num_tokens = collector.num_tokens();
  report.num_scored_tokens = collector.num_scored_tokens();
  for (int64_t head = 0; head < report.num_heads; ++head) {
    report.num_firing_heads += collector.usage(head).count > 0 ? 1 : 0;
  }
  return report;
}

}  // namespace

DumpReport dump_heads(const DumpOptions& options) {
  const auto start = Clock::now();
  DumpFolder folder(options.out, options.unfinished == DumpOptions::Unfinished::kContinue
                                     ? DumpFolder::Start::kContinue
                                     : DumpFolder::Start::kRestart);
  const DumpInputs in = open_inputs(options);
  const int64_t bytes = dump_bytes(options, in.loaded.dictionary.shape().num_ov_heads);
  log_info("dump: {} rows of {} tokens; counts and contexts take at most {}", in.rows.size(),
           in.cache.manifest().context_length, format_bytes(static_cast<double>(bytes)));

  const auto pass_start = Clock::now();
  std::optional<DelphiExport> delphi;
  PassState state = run_pass(in, options, folder, delphi);
  DumpReport report = report_of(in, state.collector);
  report.pass_seconds = seconds_since(pass_start);
  report.forward_seconds = state.forward_seconds;
  TokenTexts texts(in.tokenizer);
  DumpWriter writer(folder.path(), texts);
  report.num_contexts = write_heads(in, options, state.collector, writer);
  writer.finish(summary_json(in, options, state.collector));
  if (delphi) {
    delphi->finish(delphi_config(in, options));
    report.delphi = delphi->final_path();
  }
  folder.commit();

  report.out = folder.final_path();
  report.explorer = folder.final_path() / "explorer" / "index.html";
  report.seconds = seconds_since(start);
  report.state_bytes = bytes;
  report.peak_bytes = peak_bytes();
  return report;
}

int64_t dump_bytes(const DumpOptions& options, int64_t num_heads) {
  // A context's window (activation and token), its sources and snippets, the structs, and what five
  // allocations take beside.
  const auto context = static_cast<int64_t>(sizeof(HeadContext)) + options.window_tokens * 8 +
                       kMostSources * static_cast<int64_t>(sizeof(Source)) +
                       kMostOutside * static_cast<int64_t>(sizeof(SourceSnippet) + 64) + 5 * 16;
  // Beside the histogram: lists of contexts and of the row's entries, with room for 16 of these.
  const int64_t head = ActivationBins::kCount * 8 + static_cast<int64_t>(sizeof(HeadUsage)) + 400;
  const auto kept = static_cast<double>(options.num_contexts) +
                    static_cast<double>(options.num_quantiles) * kCandidatesPerStratum +
                    static_cast<double>(options.num_non_firing);
  // Exact up to 2^53; beyond any memory only its size counts.
  const double bytes = static_cast<double>(num_heads) *
                       (static_cast<double>(head) + kept * static_cast<double>(context));
  return static_cast<int64_t>(std::min(bytes, 0x1p62));
}

std::string report_text(const DumpReport& report) {
  const auto rate = [&](double seconds) {
    return format_si(seconds > 0.0 ? static_cast<double>(report.num_tokens) / seconds : 0.0);
  };
  return formatted(
      "heads     {}, of which {} act\ntokens    {} in {} rows, {} scored\ncontexts  {}\ntime      "
      "{}: {} tokens/s; the pass over the rows {}, the model in it {}\nmemory    {} at most in "
      "all; counts and contexts at most {}\ndump      {}\nexplorer  {}{}\n",
      report.num_heads, report.num_firing_heads, report.num_tokens, report.num_rows,
      report.num_scored_tokens, report.num_contexts, format_duration(report.seconds),
      rate(report.seconds), rate(report.pass_seconds), rate(report.forward_seconds),
      format_bytes(static_cast<double>(report.peak_bytes)),
      format_bytes(static_cast<double>(report.state_bytes)), report.out, report.explorer,
      report.delphi.empty() ? "" : "\ndelphi    " + report.delphi.string());
}

}  // namespace lorsa::analysis
