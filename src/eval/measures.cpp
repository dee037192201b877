#include "eval/measures.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "eval/replacement.h"
#include "lorsa/metrics/error_correlation.h"

namespace lorsa::eval {
namespace {

class Outputs : public Measure {
 public:
  explicit Outputs(const study::Study& study) : study_(study) {
    const data::Manifest& manifest = study.cache().manifest();
    for (const study::Member& member : study.members()) {
      reconstruction_.emplace_back(manifest.context_length, manifest.d_model);
      usage_.emplace_back(member.dictionary.shape().num_ov_heads);
    }
  }

  void add(const study::StudyBatch& batch) override {
    const at::Tensor scored_P = batch.scored_BT.reshape({-1});
    for (size_t i = 0; i < usage_.size(); ++i) {
      const model::Reconstruction& out = batch.output(i);
      reconstruction_[i].add(out.y_BTD, batch.target_BTD, batch.scored_BT);
      usage_[i].add(out.kept.value_PK, out.kept.head_PK, scored_P);
    }
  }

  void fill(std::vector<EvalReport>& reports) override {
    for (size_t i = 0; i < reports.size(); ++i) {
      reports[i].reconstruction = reconstruction_[i].report();
      reports[i].usage = usage_[i].report();
      if (const kernels::Mhsa* layer = study_.find_attention()) {
        reports[i].spread = spread_of(output_shares(study_.members()[i].dictionary, *layer),
                                      reports[i].usage.rate_H > 0);
      }
    }
  }

 private:
  const study::Study& study_;
  std::vector<metrics::ReconstructionMeter> reconstruction_;
  std::vector<metrics::UsageMeter> usage_;
};

class Patterns : public Measure {
 public:
  Patterns(const study::Study& study, int64_t max_rows) : max_rows_(max_rows) {
    for (const study::Member& member : study.members()) {
      const bool attends = member.dictionary.shape().num_qk_heads > 0;
      meters_.push_back(
          attends ? std::make_unique<PatternMeter>(member.dictionary, *study.find_attention())
                  : nullptr);
    }
  }

  void add(const study::StudyBatch& batch) override {
    const int64_t count = std::min(max_rows_ - num_rows_, batch.scored_BT.size(0));
    for (const auto& meter : meters_) {
      if (meter != nullptr && count > 0) {
        meter->add(batch.input_BTD.narrow(0, 0, count), batch.scored_BT.narrow(0, 0, count));
      }
    }
    num_rows_ += count;
  }

  void fill(std::vector<EvalReport>& reports) override {
    for (size_t i = 0; i < reports.size(); ++i) {
      if (meters_[i] != nullptr) {
        reports[i].patterns = meters_[i]->report();
      }
    }
  }

 private:
  int64_t max_rows_;
  int64_t num_rows_ = 0;
  std::vector<std::unique_ptr<PatternMeter>> meters_;
};

class Language : public Measure {
 public:
  explicit Language(const study::Study& study)
      : study_(study),
        target_mean_D_(at::tensor(study.cache().manifest().target_mean, at::kDouble)
                           .to(at::kFloat)
                           .to(study.device())),
        predictions_(study.members().size()) {}

  void add(const study::StudyBatch& batch) override {
    const Site& site = study_.cache().manifest().site;
    const auto edits = [&](const at::Tensor& scored_BT1) {
      ReplacedRuns runs{{replaced_by(site, at::zeros({1}), scored_BT1)},
                        {replaced_by(site, target_mean_D_, scored_BT1)},
                        {}};
      for (const study::Member& member : study_.members()) {
        runs.replaced.push_back({replaced_by({site, &member.dictionary}, scored_BT1)});
      }
      return runs;
    };
    add_predictions(study_.model(), site.layer, batch.stored().tokens_BT, batch.stored().scored_BT,
                    edits, predictions_);
  }

  void fill(std::vector<EvalReport>& reports) override {
    const std::vector<LanguageReport> found = predictions_.reports();
    for (size_t i = 0; i < reports.size(); ++i) {
      reports[i].language = found[i];
    }
  }

 private:
  const study::Study& study_;
  at::Tensor target_mean_D_;
  PredictionMeter predictions_;
};

class SharedErrors : public Measure {
 public:
  explicit SharedErrors(const study::Study& study)
      : num_members_(study.members().size()), errors_(static_cast<int64_t>(num_members_)) {}

  void add(const study::StudyBatch& batch) override {
    std::vector<at::Tensor> outputs;
    for (size_t i = 0; i < num_members_; ++i) {
      outputs.push_back(batch.output(i).y_BTD);
    }
    errors_.add(outputs, batch.target_BTD, batch.scored_BT);
  }

  void fill(std::vector<EvalReport>& reports) override {
    const metrics::ErrorCorrelationReport errors = errors_.report();
    for (size_t a = 0; a < reports.size(); ++a) {
      for (size_t b = 0; b < reports.size(); ++b) {
        const auto entry = [&](const at::Tensor& matrix_CC) {
          return matrix_CC[static_cast<int64_t>(a)][static_cast<int64_t>(b)].item<double>();
        };
        reports[a].shared_errors.push_back(
            {.checkpoint = reports[b].checkpoint,
             .cosine = entry(errors.cosine_CC),
             .squared_norm_correlation = entry(errors.squared_norm_correlation_CC),
             .explained = entry(errors.explained_CC)});
      }
    }
  }

 private:
  size_t num_members_;
  metrics::ErrorCorrelationMeter errors_;
};

}  // namespace

std::unique_ptr<Measure> measure_outputs(const study::Study& study) {
  return std::make_unique<Outputs>(study);
}

std::unique_ptr<Measure> measure_patterns(const study::Study& study, int64_t max_rows) {
  return max_rows > 0 && study.find_attention() != nullptr
             ? std::make_unique<Patterns>(study, max_rows)
             : nullptr;
}

std::unique_ptr<Measure> measure_language(const study::Study& study) {
  return study.has_model() ? std::make_unique<Language>(study) : nullptr;
}

std::unique_ptr<Measure> measure_shared_errors(const study::Study& study) {
  return study.members().size() > 1 ? std::make_unique<SharedErrors>(study) : nullptr;
}

}  // namespace lorsa::eval
