#include "eval/long_context.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "lorsa/core/error.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/metrics/reconstruction.h"

namespace lorsa::eval {
namespace {

RowStart start_of(const study::Study& study) {
  return study.cache().manifest().prepend_bos ? RowStart::kBos : RowStart::kText;
}

void check_lengths(const study::Study& study,
                   const std::vector<int64_t>& lengths,
                   int64_t num_rows,
                   int64_t max_rows) {
  LORSA_CHECK(study.has_model(), ConfigError,
              "`context_lengths` needs `model`: a cache holds no activations of longer rows");
  const int64_t longest = study.model().config().max_positions;
  const int64_t row_length = study.cache().manifest().context_length;
  for (const int64_t length : lengths) {
    LORSA_CHECK(length >= 2, ConfigError, "`context_lengths`: expected 2 or more: {}", length);
    LORSA_CHECK(length <= longest, ConfigError,
                "`context_lengths`: {} exceeds the {} positions (max_position_embeddings) of {}",
                length, longest, study.model_folder());
    const int64_t needed = rows_for(length, row_length, start_of(study));
    LORSA_CHECK(needed <= num_rows, ConfigError,
                "`context_lengths`: a row of {} tokens is made of {} held-out rows of {}, found {} "
                "in {}{}",
                length, needed, row_length, num_rows, study.cache().folder(),
                max_rows > 0 ? " (`max_rows`)" : "");
  }
}

LongContextReport report_of(const metrics::ReconstructionMeter& meter, const LongRows& rows) {
  LongContextReport report;
  report.num_rows = rows.tokens_nT.size(0);
  report.context_length = rows.tokens_nT.size(1);
  report.num_tokens = rows.scored_nT.sum().item<int64_t>();
  report.fvu = meter.fvu_of_positions(0, report.context_length);
  for (int64_t first = 0; first < report.context_length; first += kBucketPositions) {
    const int64_t count = std::min(kBucketPositions, report.context_length - first);
    report.fvu_per_bucket.push_back(meter.fvu_of_positions(first, count));
  }
  return report;
}

class LongContexts : public Measure {
 public:
  LongContexts(const study::Study& study,
               std::vector<int64_t> lengths,
               const study::PassOptions& pass)
      : study_(study), lengths_(std::move(lengths)), pass_(pass) {}

  void add(const study::StudyBatch& batch) override {
    tokens_.push_back(batch.stored().tokens_BT);
    scored_.push_back(batch.stored().scored_BT);
  }

  void fill(std::vector<EvalReport>& reports) override {
    const int64_t row_length = study_.cache().manifest().context_length;
    std::vector<const model::Dictionary*> dictionaries;
    for (const study::Member& member : study_.members()) {
      dictionaries.push_back(&member.dictionary);
    }
    for (const int64_t length : lengths_) {
      // As many tokens a batch as in the pass over the cache.
      const int64_t per_batch = std::max<int64_t>(1, pass_.batch_sequences * row_length / length);
      const LongRows rows = join_rows(at::cat(tokens_), at::cat(scored_), length, start_of(study_));
      const std::vector<LongContextReport> found =
          judge_long_rows(study_.model(), study_.cache().manifest().site, dictionaries, rows,
                          per_batch, pass_.progress);
      for (size_t i = 0; i < reports.size(); ++i) {
        reports[i].long_contexts.push_back(found[i]);
      }
    }
  }

 private:
  const study::Study& study_;
  std::vector<int64_t> lengths_;
  study::PassOptions pass_;
  std::vector<at::Tensor> tokens_;
  std::vector<at::Tensor> scored_;
};

}  // namespace

int64_t rows_for(int64_t length, int64_t row_length, RowStart start) {
  const int64_t bos = start == RowStart::kBos ? 1 : 0;
  const int64_t text = row_length - bos;
  return (length - bos + text - 1) / text;
}

LongRows join_rows(const at::Tensor& tokens_BT,
                   const at::Tensor& scored_BT,
                   int64_t length,
                   RowStart start) {
  const int64_t needed = rows_for(length, tokens_BT.size(1), start);
  LORSA_CHECK(tokens_BT.size(0) >= needed, ConfigError,
              "a row of {} tokens needs {} held-out rows, found {}", length, needed,
              tokens_BT.size(0));
  const int64_t bos = start == RowStart::kBos ? 1 : 0;
  const auto joined = [&](const at::Tensor& rows_BT) {
    const at::Tensor text = rows_BT.slice(1, bos).reshape({-1});
    const int64_t n = text.size(0) / (length - bos);
    const at::Tensor text_nT = text.narrow(0, 0, n * (length - bos)).view({n, length - bos});
    return at::cat({rows_BT.slice(0, 0, 1).slice(1, 0, bos).expand({n, bos}), text_nT}, 1);
  };
  return {joined(tokens_BT), joined(scored_BT)};
}

std::vector<LongContextReport> judge_long_rows(
    const lm::LanguageModel& model,
    const Site& site,
    const std::vector<const model::Dictionary*>& dictionaries,
    const LongRows& rows,
    int64_t rows_per_batch,
    Progress::Visible progress) {
  const int64_t num_rows = rows.tokens_nT.size(0);
  const int64_t length = rows.tokens_nT.size(1);
  std::vector<metrics::ReconstructionMeter> meters;
  while (meters.size() < dictionaries.size()) {  // a copy of a meter would share its sums
    meters.emplace_back(length, model.config().d_model);
  }
  Progress bar(formatted("context {}", length), num_rows * length, "tokens", 0, progress);
  for (int64_t first = 0; first < num_rows; first += rows_per_batch) {
    if (StopSignal::requested()) {
      throw Interrupted(formatted("stopped after {} of {} rows of {} tokens; nothing was written",
                                  first, num_rows, length));
    }
    const int64_t last = std::min(first + rows_per_batch, num_rows);
    const at::Tensor scored_BT = rows.scored_nT.slice(0, first, last).to(model.device());
    const lm::SiteActivations taps =
        model.activations(rows.tokens_nT.slice(0, first, last), {site}).front();
    const at::Tensor target_BTD = taps.output_BTD.to(at::kFloat);
    for (size_t i = 0; i < meters.size(); ++i) {
      const model::Dictionary& dictionary = *dictionaries[i];
      const at::Tensor read_BTD = dictionary.read_of(taps.input_BTD, target_BTD).to(at::kFloat);
      meters[i].add(dictionary.reconstruct(read_BTD).y_BTD, target_BTD, scored_BT);
    }
    bar.update(last * length);
  }
  bar.finish();
  std::vector<LongContextReport> reports;
  std::transform(meters.begin(), meters.end(), std::back_inserter(reports),
                 [&](const auto& meter) { return report_of(meter, rows); });
  return reports;
}

std::unique_ptr<Measure> measure_long_contexts(const study::Study& study,
                                               const std::vector<int64_t>& lengths,
                                               const std::vector<int64_t>& rows,
                                               const study::PassOptions& pass) {
  if (lengths.empty()) {
    return nullptr;
  }
  check_lengths(study, lengths, static_cast<int64_t>(rows.size()), pass.max_rows);
  return std::make_unique<LongContexts>(study, lengths, pass);
}

}  // namespace lorsa::eval
