#include "lorsa/analysis/dump.h"

#include <ATen/core/Tensor.h>

#include <chrono>
#include <iomanip>

#include "analysis/dump_folder.h"
#include "analysis/dump_inputs.h"
#include "analysis/dump_writer.h"
#include "analysis/patterns.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/core/version.h"

namespace lorsa::analysis {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void stop_if_asked() {
  LORSA_CHECK(!StopSignal::requested(),
              Interrupted,
              "stopped by a signal; a dump is not continued: run the command again");
}

/// First pass: counts and the strongest contexts. `forward_seconds` is set to the model's share.
HeadCollector count_activations(const DumpInputs& in,
                                const DumpOptions& options,
                                double& forward_seconds) {
  const model::Lorsa& lorsa = in.loaded.lorsa;
  const int64_t T = in.cache.manifest().context_length;
  HeadCollector collector(
      {lorsa.shape().num_ov_heads, options.num_contexts, options.window_tokens});
  const auto num_rows = static_cast<int64_t>(in.rows.size());
  Progress progress("activations", num_rows * T, "tokens", 0, options.progress);
  for (int64_t begin = 0; begin < num_rows; begin += options.batch_rows) {
    stop_if_asked();
    const int64_t end = std::min(num_rows, begin + options.batch_rows);
    const std::vector<int64_t> rows(in.rows.begin() + begin, in.rows.begin() + end);
    const data::Batch batch = in.cache.read(rows);
    const auto start = Clock::now();
    const at::Tensor& read = lorsa.shape().reads_target() ? batch.target_BTD : batch.input_BTD;
    const at::Tensor x_BTD = read.to(in.device, at::kFloat);
    kernels::TopK kept = lorsa.reconstruct(x_BTD).kept;
    // Copying waits for a CUDA device, so the time is the pass's.
    kept = {kept.value_PK.to(at::kCPU), kept.head_PK.to(at::kCPU)};
    forward_seconds += seconds_since(start);
    collector.add(kept, batch.scored_BT, rows);
    progress.update(end * T);
  }
  progress.finish();
  return collector;
}

/// Second pass: where the contexts' activations come from.
std::vector<std::vector<HeadContext>> read_contexts(const DumpInputs& in,
                                                    const DumpOptions& options,
                                                    HeadCollector& collector) {
  std::vector<std::vector<HeadContext>> contexts = collector.take_contexts();
  int64_t total = 0;
  for (const auto& of_head : contexts) {
    total += static_cast<int64_t>(of_head.size());
  }
  Progress progress("z-patterns", total, "contexts", 0, options.progress);
  read_patterns(in.loaded.lorsa, in.cache, options.batch_rows, contexts, [&](int64_t done) {
    stop_if_asked();
    progress.update(done);
  });
  progress.finish();
  return contexts;
}

io::Json summary_json(const DumpInputs& in,
                      const DumpOptions& options,
                      const HeadCollector& collector) {
  const model::LorsaShape& shape = in.loaded.lorsa.shape();
  const data::Manifest& manifest = in.cache.manifest();
  io::Json json;
  json["schema"] = kDumpSchema;
  json["lorsa_version"] = version();
  json["checkpoint"] = options.checkpoint.string();
  json["cache"] = options.cache.string();
  json["language_model"] = {{"name", manifest.model_name},
                            {"weights_sha256", manifest.weights_sha256},
                            {"layer", manifest.layer}};
  json["kind"] = shape.has_attention() ? "lorsa" : "sae";
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
  json["window_tokens"] = std::min(options.window_tokens, manifest.context_length);
  json["histogram"] = {{"bins_per_octave", ActivationBins::kPerOctave},
                       {"lowest_exponent", ActivationBins::kLowestExponent},
                       {"num_bins", ActivationBins::kCount}};
  return json;
}

void write_heads(const DumpInputs& in,
                 const DumpOptions& options,
                 const HeadCollector& collector,
                 std::vector<std::vector<HeadContext>>& contexts,
                 DumpWriter& writer) {
  const model::Lorsa& lorsa = in.loaded.lorsa;
  const int64_t H = lorsa.shape().num_ov_heads;
  Progress progress("heads", H, "heads", 0, options.progress);
  for (int64_t begin = 0; begin < H; begin += kHeadsPerShard) {
    stop_if_asked();
    const int64_t count = std::min(kHeadsPerShard, H - begin);
    std::vector<LogitEffect> effects = logit_effects(
        in.model, lorsa.weights().W_O.narrow(0, begin, count), options.num_logit_tokens);
    std::vector<HeadRecord> records(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      const int64_t head = begin + i;
      HeadRecord& record = records[static_cast<size_t>(i)];
      record.head = head;
      record.qk_head = head / lorsa.shape().group();
      record.usage = collector.usage(head);
      record.rate = collector.rate(head);
      record.histogram = collector.histogram(head);
      record.contexts = std::move(contexts[static_cast<size_t>(head)]);
      record.effect = std::move(effects[static_cast<size_t>(i)]);
    }
    writer.write_shard(records);
    progress.update(begin + count);
  }
  progress.finish();
}

DumpReport report_of(const DumpInputs& in, const HeadCollector& collector) {
  DumpReport report;
  report.num_heads = in.loaded.lorsa.shape().num_ov_heads;
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
  DumpFolder folder(options.out);
  const DumpInputs in = open_inputs(options);
  log_info(
      "dump: ",
      in.rows.size(),
      " rows of ",
      in.cache.manifest().context_length,
      " tokens; contexts take at most ",
      format_bytes(static_cast<double>(dump_bytes(options, in.loaded.lorsa.shape().num_ov_heads))));

  double forward_seconds = 0.0;
  HeadCollector collector = count_activations(in, options, forward_seconds);
  std::vector<std::vector<HeadContext>> contexts = read_contexts(in, options, collector);
  DumpReport report = report_of(in, collector);
  for (const auto& of_head : contexts) {
    report.num_contexts += static_cast<int64_t>(of_head.size());
  }
  TokenTexts texts(in.tokenizer);
  DumpWriter writer(folder.path(), texts);
  write_heads(in, options, collector, contexts, writer);
  writer.finish(summary_json(in, options, collector));
  folder.commit();

  report.out = folder.final_path();
  report.explorer = folder.final_path() / "explorer" / "index.html";
  report.seconds = seconds_since(start);
  report.forward_seconds = forward_seconds;
  return report;
}

int64_t dump_bytes(const DumpOptions& options, int64_t num_heads) {
  // A context's window (activation and token), its sources and snippets, and the structs.
  const auto context = static_cast<int64_t>(sizeof(HeadContext)) + options.window_tokens * 8 +
                       kMostSources * static_cast<int64_t>(sizeof(Source)) +
                       kMostOutside * static_cast<int64_t>(sizeof(SourceSnippet) + 64);
  const int64_t head = ActivationBins::kCount * 8 + static_cast<int64_t>(sizeof(HeadUsage)) + 64;
  return num_heads * (head + options.num_contexts * context);
}

std::string report_text(const DumpReport& report) {
  const auto rate = [&](double seconds) {
    return format_si(seconds > 0.0 ? static_cast<double>(report.num_tokens) / seconds : 0.0);
  };
  return concat("heads     ",
                report.num_heads,
                ", of which ",
                report.num_firing_heads,
                " act\n",
                "tokens    ",
                report.num_tokens,
                " in ",
                report.num_rows,
                " rows, ",
                report.num_scored_tokens,
                " scored\n",
                "contexts  ",
                report.num_contexts,
                "\n",
                "time      ",
                format_duration(report.seconds),
                ": ",
                rate(report.seconds),
                " tokens/s, the forward pass alone ",
                rate(report.forward_seconds),
                "\n",
                "dump      ",
                report.out.string(),
                "\n",
                "explorer  ",
                report.explorer.string(),
                "\n");
}

}  // namespace lorsa::analysis
