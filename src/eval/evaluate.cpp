#include "lorsa/eval/evaluate.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "eval/interventions.h"
#include "eval/long_context.h"
#include "eval/measures.h"
#include "lorsa/core/device.h"
#include "lorsa/core/error.h"

namespace lorsa::eval {
namespace {

/// What a batch holds at least: z of all heads and their scores; input, target, output, error.
void check_batch(const study::Study& study, int64_t num_rows) {
  const auto tokens = static_cast<double>(num_rows * study.cache().manifest().context_length);
  for (const study::Member& member : study.members()) {
    const model::DictionaryShape& shape = member.dictionary.shape();
    check_memory(tokens * 4.0 * static_cast<double>(2 * shape.num_ov_heads + 4 * shape.d_model),
                 study.device(), formatted("batches of {} rows (`batch_sequences`)", num_rows));
  }
}

std::vector<EvalReport> empty_reports(const study::Study& study, size_t num_rows) {
  std::vector<EvalReport> reports;
  for (const study::Member& member : study.members()) {
    const model::DictionaryShape& shape = member.dictionary.shape();
    EvalReport& report = reports.emplace_back();
    report.checkpoint = member.name;
    report.kind = shape.kind;
    report.model_name = study.cache().manifest().model_name;
    report.site = member.info.site;
    report.top_k = shape.top_k;
    report.num_ov_heads = shape.num_ov_heads;
    report.has_heads = shape.num_qk_heads > 0;
    report.num_rows = static_cast<int64_t>(num_rows);
  }
  return reports;
}

}  // namespace

void describe(config::Fields& f, EvalOptions& o) {
  f.count("max_rows", o.pass.max_rows, "Held-out rows to use; 0 takes all.").at_least(0);
  f.count("pattern_rows", o.pattern_rows,
          "Held-out rows on which attention patterns are compared with the layer's; 0: none.")
      .at_least(0);
  f.count_list("context_lengths", o.context_lengths,
               "Also fvu on rows of so many tokens, made of held-out ones; needs --model.")
      .at_least(2);
  f.count("batch_sequences", o.pass.batch_sequences, "Rows of one batch.").at_least(1);
  describe(f, o.interventions);
}

std::vector<EvalReport> evaluate(const study::Study& study, const EvalOptions& options) {
  config::check_ranges_of(options);
  study.require_members_of_cache();
  const study::PassOptions& pass = options.pass;
  const std::vector<int64_t> rows = study::heldout_rows(study.cache(), pass.max_rows);
  check_batch(study, std::min(pass.batch_sequences, static_cast<int64_t>(rows.size())));
  const std::optional<InterventionPlan> plan = plan_interventions(study, options.interventions);
  Measures measures;
  const auto add = [&](std::unique_ptr<Measure> measure) {
    if (measure != nullptr) {
      measures.push_back(std::move(measure));
    }
  };
  // What costs nothing to refuse comes before the language model is read.
  add(measure_long_contexts(study, options.context_lengths, rows, pass));
  add(measure_outputs(study));
  add(measure_patterns(study, options.pattern_rows));
  add(measure_language(study));
  add(measure_shared_errors(study));
  study::for_each_batch(study, "evaluate", rows, pass, [&](const study::StudyBatch& batch) {
    for (const auto& measure : measures) {
      measure->add(batch);
    }
  });
  std::vector<EvalReport> reports = empty_reports(study, rows.size());
  for (const auto& measure : measures) {
    measure->fill(reports);
  }
  if (plan) {
    reports.front().interventions =
        intervene(*plan, study, rows, reports.front().usage.rate_H, pass);
  }
  return reports;
}

}  // namespace lorsa::eval
