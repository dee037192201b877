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
#include "lorsa/analysis/families.h"
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

std::optional<DelphiPlan> delphi_plan(const DumpInputs& in,
                                      const std::filesystem::path& folder,
                                      int64_t num_splits) {
  if (folder.empty()) {
    return std::nullopt;
  }
  LORSA_CHECK(num_splits <= in.collector.num_heads, ConfigError, "`delphi_splits`: {} for {} heads",
              num_splits, in.collector.num_heads);
  const Site& site = in.manifest().site;
  const char* module = site.component == Component::kAttention ? "self_attn" : "mlp";
  return DelphiPlan{
      folder,     formatted("layers.{}.{}", site.layer, module), in.collector.num_heads,
      num_splits, static_cast<int64_t>(in.rows.size()),          in.manifest().context_length};
}

/// The keys of delphi's own config.json, and what made the export.
io::Json delphi_config(const DumpInputs& in, int64_t num_splits) {
  const data::Manifest& manifest = in.manifest();
  io::Json json;
  json["dataset_repo"] = in.study.cache().folder().string();
  json["dataset_split"] = "";
  json["dataset_name"] = "";
  json["dataset_column"] = "text";
  json["batch_size"] = in.batch_rows;
  json["cache_ctx_len"] = manifest.context_length;
  json["n_tokens"] = static_cast<int64_t>(in.rows.size()) * manifest.context_length;
  json["n_splits"] = num_splits;
  json["model_name"] = in.study.model_folder().string();
  json["lorsa"] = {{"schema", kDelphiSchema},
                   {"lorsa_version", version()},
                   {"checkpoint", in.study.members().front().name},
                   {"layer", manifest.site.layer},
                   {"component", to_string(manifest.site.component)},
                   {"num_heads", in.collector.num_heads}};
  return json;
}

/// The pass over the rows, from where an interrupted one was.
PassState run_pass(const DumpInputs& in,
                   const std::optional<DelphiPlan>& plan,
                   double save_every_s,
                   DumpFolder& folder,
                   std::optional<DelphiExport>& delphi) {
  PassState state{HeadCollector(in.collector)};
  const io::Json identity = pass_identity(in, plan);
  if (folder.has_state()) {
    load_state(folder, identity, state);
    if (plan && !DelphiExport::is_unfinished(*plan)) {
      log_warning("dump: the export to {} is gone: begins anew", plan->folder);
      state = PassState{HeadCollector(in.collector)};
      // It speaks of an export that the next one will replace.
      io::remove_tree(folder.state_path());
    }
    log_info("dump: goes on behind row {} of {}", state.rows_done, in.rows.size());
  }
  if (plan) {
    delphi.emplace(*plan, state.exported);
  }
  const auto save = [&] {
    if (delphi) {
      state.exported = delphi->sync();
      delphi->keep_unfinished();
    }
    save_state(folder, identity, state);
  };
  auto saved = Clock::now();
  const bool complete = run_activation_pass(in, state, delphi ? &*delphi : nullptr, [&] {
    if (seconds_since(saved) >= save_every_s) {
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
  const kernels::Mhsa* layer = in.study.cache().find_attention();
  if (layer == nullptr) {
    return std::vector<std::vector<MhsaShare>>(static_cast<size_t>(in.collector.num_heads));
  }
  const at::Tensor share_HN = eval::output_shares(in.dictionary, *layer).contiguous();
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

io::Json summary_json(const DumpInputs& in, const HeadCollector& collector) {
  const model::DictionaryShape& shape = in.dictionary.shape();
  const data::Manifest& manifest = in.manifest();
  io::Json json;
  json["schema"] = kDumpSchema;
  json["lorsa_version"] = version();
  json["checkpoint"] = in.study.members().front().name;
  json["cache"] = in.study.cache().folder().string();
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
  json["contexts_per_head"] = in.collector.num_contexts;
  json["quantile_contexts_per_head"] = in.collector.num_quantiles;
  json["non_firing_contexts_per_head"] = in.collector.num_non_firing;
  json["seed"] = in.collector.seed;
  json["window_tokens"] = std::min(in.collector.window_tokens, manifest.context_length);
  json["histogram"] = {{"bins_per_octave", ActivationBins::kPerOctave},
                       {"lowest_exponent", ActivationBins::kLowestExponent},
                       {"num_bins", ActivationBins::kCount}};
  return json;
}

/// Writes all shards; returns the number of contexts. The logit effects of a shard are computed
/// while the one before is written.
int64_t write_heads(const DumpInputs& in,
                    const std::vector<std::map<std::string, double>>& family_scores,
                    int64_t num_logit_tokens,
                    HeadCollector& collector,
                    DumpWriter& writer) {
  const model::Dictionary& dictionary = in.dictionary;
  const lm::LanguageModel& model = in.study.model();
  const int64_t H = dictionary.shape().num_ov_heads;
  std::vector<std::vector<MhsaShare>> shares = largest_shares(in);
  const auto effects_of = [&](int64_t begin) {
    return std::async(std::launch::async, [&, begin] {
      const int64_t count = std::min(kHeadsPerShard, H - begin);
      return logit_effects(model, dictionary.weights().W_O.narrow(0, begin, count),
                           num_logit_tokens);
    });
  };
  int64_t num_contexts = 0;
  Progress progress("heads", H, "heads", 0, in.progress);
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
      record.layer = in.manifest().site.layer;
      record.usage = collector.usage(head);
      record.rate = collector.rate(head);
      record.histogram = collector.histogram(head);
      record.contexts = collector.take_contexts(head);
      record.effect = std::move(effects[static_cast<size_t>(head - begin)]);
      record.mhsa_overlap = std::move(shares[static_cast<size_t>(head)]);
      if (!family_scores.empty()) {
        record.family_scores = family_scores[static_cast<size_t>(head)];
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
  report.num_heads = in.collector.num_heads;
  report.num_rows = static_cast<int64_t>(in.rows.size());
  report.num_tokens = collector.num_tokens();
  report.num_scored_tokens = collector.num_scored_tokens();
  for (int64_t head = 0; head < report.num_heads; ++head) {
    report.num_firing_heads += collector.usage(head).count > 0 ? 1 : 0;
  }
  return report;
}

}  // namespace

void describe(config::Fields& f, DumpOptions& o) {
  f.path("cache", o.cache, "Activation cache of the same site.").required();
  f.path("model", o.model, "The language model's folder.").required();
  f.path("out", o.out, "Where the dump goes; an older dump there is replaced.").required();
  f.count("contexts", o.num_contexts, "Strongest contexts kept of each head.").at_least(1);
  f.count("quantile_contexts", o.num_quantiles,
          "Contexts of each head drawn from as many equally probable strata of its activations.")
      .at_least(0);
  f.count("non_firing_contexts", o.num_non_firing,
          "Windows drawn for each head in which it does not act.")
      .at_least(0);
  f.count("seed", o.seed, "Of what is drawn.").at_least(0);
  f.count("window", o.window_tokens, "Tokens of a context.").at_least(1);
  f.count("max_rows", o.max_rows, "Read only so many rows, spread over the cache; 0: all.")
      .at_least(0);
  f.count("logit_tokens", o.num_logit_tokens,
          "Tokens listed at either end of what a head does to the logits.")
      .at_least(1);
  f.count("batch_rows", o.batch_rows, "Rows of one batch.").at_least(1);
  f.boolean("families", o.families,
            "Score every head for nine families (induction, successor, arithmetic ...) first: runs "
            "the language model's blocks up to the layer on 25,000 tokens.");
  f.text("device", o.device, "auto, cpu, cuda or cuda:N.");
  f.path("delphi", o.delphi, "Export all activations too, in the layout of delphi's latent cache.");
  f.count("delphi_splits", o.num_delphi_splits, "Files of that export.").at_least(1);
  f.number("save_every", o.save_every_s, "Seconds of work that a kill loses at most.").at_least(0);
  f.boolean("restart", o.restart, "Discard what an interrupted dump has saved.");
}

DumpReport dump_heads(const DumpOptions& options) {
  const auto start = Clock::now();
  config::check_ranges_of(options);
  DumpFolder folder(options.out,
                    options.restart ? DumpFolder::Start::kRestart : DumpFolder::Start::kContinue);
  study::Study study(options.device);
  study.open_cache(options.cache);
  study.open_checkpoint(options.checkpoint);
  lm::LoadOptions blocks;  // what the logits need, and the families
  blocks.num_layers = options.families ? study.cache().manifest().site.layer + 1 : 0;
  study.open_model(options.model, blocks);
  const DumpInputs in(std::move(study),
                      {.num_contexts = options.num_contexts,
                       .window_tokens = options.window_tokens,
                       .num_quantiles = options.num_quantiles,
                       .num_non_firing = options.num_non_firing,
                       .seed = static_cast<uint64_t>(options.seed)},
                      {options.max_rows, options.batch_rows, options.progress});
  const std::optional<DelphiPlan> plan = delphi_plan(in, options.delphi, options.num_delphi_splits);
  TokenTexts texts(in.study.tokenizer());
  static_cast<void>(in.study.model());  // refused now, not behind the pass
  std::vector<std::map<std::string, double>> family_scores;
  if (options.families) {
    family_scores = head_families(in.study, 0, 0, options.progress).by_head();
  }
  const int64_t bytes = dump_bytes(in.collector);
  log_info("dump: {} rows of {} tokens; counts and contexts take at most {}", in.rows.size(),
           in.manifest().context_length, format_bytes(static_cast<double>(bytes)));

  const auto pass_start = Clock::now();
  std::optional<DelphiExport> delphi;
  PassState state = run_pass(in, plan, options.save_every_s, folder, delphi);
  DumpReport report = report_of(in, state.collector);
  report.pass_seconds = seconds_since(pass_start);
  report.forward_seconds = state.forward_seconds;
  DumpWriter writer(folder.path(), texts);
  report.num_contexts =
      write_heads(in, family_scores, options.num_logit_tokens, state.collector, writer);
  writer.finish(summary_json(in, state.collector));
  if (delphi) {
    delphi->finish(delphi_config(in, options.num_delphi_splits));
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

int64_t dump_bytes(const CollectorOptions& options) {
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
  const double bytes = static_cast<double>(options.num_heads) *
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
