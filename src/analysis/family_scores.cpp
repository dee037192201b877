#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "analysis/probes.h"
#include "lorsa/analysis/families.h"
#include "lorsa/core/error.h"
#include "lorsa/core/stop_signal.h"

namespace lorsa::analysis {
namespace {

// Tokens of one batch through the language model.
constexpr int64_t kBatchTokens = 1024;

/// A head that acts where an answer is known.
struct Act {
  size_t query = 0;  ///< of the probe
  int64_t head = 0;
  float value = 0.0F;
  double on_answers = 0.0;  ///< positive z on the answers
  double total = 0.0;       ///< positive z on all sources
};

using OnAct = std::function<void(const Act&)>;

/// Language model and Lorsa at one layer.
class ProbeRunner {
 public:
  ProbeRunner(const lm::LanguageModel& model, const model::Dictionary& dictionary, int64_t layer)
      : model_(model), dictionary_(dictionary), layer_(layer) {}

  /// Calls `on_act` for every head that acts at every query, queries ascending; `on_rows` is told
  /// the rows done.
  void run(const Probe& probe, const OnAct& on_act, const std::function<void(int64_t)>& on_rows) {
    const at::NoGradGuard no_grad;
    const int64_t B = probe.tokens_BT.size(0);
    const int64_t batch = std::max<int64_t>(1, kBatchTokens / probe.tokens_BT.size(1));
    size_t next = 0;
    for (int64_t first = 0; first < B; first += batch) {
      LORSA_CHECK(!StopSignal::requested(), Interrupted, "stopped while heads were scored");
      const int64_t count = std::min(batch, B - first);
      const at::Tensor tokens = probe.tokens_BT.narrow(0, first, count);
      size_t end = next;
      while (end < probe.queries.size() && probe.queries[end].row < first + count) {
        ++end;
      }
      run_batch(tokens, probe, first, next, end, on_act);
      next = end;
      on_rows(first + count);
    }
  }

 private:
  void run_batch(const at::Tensor& tokens_BT,
                 const Probe& probe,
                 int64_t first_row,
                 size_t begin,
                 size_t end,
                 const OnAct& on_act) {
    const at::Tensor& W_V = dictionary_.weights().W_V;
    const at::Tensor x_BTD = model_.activations(tokens_BT, {Site{layer_}})[0].input_BTD.to(
        W_V.device(), W_V.scalar_type());
    const kernels::TopK kept = dictionary_.reconstruct(x_BTD).kept;
    const at::Tensor value_PK = kept.value_PK.to(at::kCPU, at::kFloat).contiguous();
    const at::Tensor head_PK = kept.head_PK.to(at::kCPU, at::kInt).contiguous();
    const int64_t T = tokens_BT.size(1);
    const int64_t K = head_PK.size(1);
    std::vector<Act> acts;
    std::vector<model::PatternQuery> queries;
    for (size_t q = begin; q < end; ++q) {
      const ProbeQuery& query = probe.queries[q];
      const int64_t p = (query.row - first_row) * T + query.position;
      for (int64_t k = 0; k < K; ++k) {
        const float value = value_PK.const_data_ptr<float>()[p * K + k];
        if (value != 0.0F) {
          const int64_t head = head_PK.const_data_ptr<int32_t>()[p * K + k];
          acts.push_back({q, head, value});
          queries.push_back({query.row - first_row, query.position, head});
        }
      }
    }
    const at::Tensor z_nT = dictionary_.z_patterns(x_BTD, queries).to(at::kCPU, at::kFloat);
    const float* z = z_nT.const_data_ptr<float>();
    for (Act& act : acts) {
      weigh(probe.queries[act.query], z, act);
      on_act(act);
      z += T;
    }
  }

  static void weigh(const ProbeQuery& query, const float* z_T, Act& act) {
    const float sign = act.value < 0.0F ? -1.0F : 1.0F;
    for (int32_t j = 0; j <= query.position; ++j) {
      act.total += std::max(0.0F, sign * z_T[j]);
    }
    for (const int32_t j : query.sources) {
      act.on_answers += std::max(0.0F, sign * z_T[j]);
    }
  }

  const lm::LanguageModel& model_;
  const model::Dictionary& dictionary_;
  int64_t layer_;
};

/// Sums of one family, by head.
class Tally {
 public:
  explicit Tally(int64_t num_heads)
      : on_answers_(static_cast<size_t>(num_heads)),
        total_(static_cast<size_t>(num_heads)),
        acts_(static_cast<size_t>(num_heads)) {}

  void add(const Act& act) {
    const auto h = static_cast<size_t>(act.head);
    on_answers_[h] += act.on_answers;
    total_[h] += act.total;
    ++acts_[h];
  }

  [[nodiscard]] FamilyScores scores(const Probe& probe) const {
    FamilyScores out;
    out.family = probe.family;
    out.answer = probe.answer;
    out.num_positions = static_cast<int64_t>(probe.queries.size());
    for (const ProbeQuery& query : probe.queries) {
      out.chance += static_cast<double>(query.sources.size()) / (query.position + 1.0) /
                    static_cast<double>(probe.queries.size());
    }
    out.acts_H = acts_;
    const double least = std::max(static_cast<double>(kFewestActs),
                                  kLeastActing * static_cast<double>(out.num_positions));
    for (size_t h = 0; h < total_.size(); ++h) {
      const bool scored = static_cast<double>(acts_[h]) >= least && total_[h] > 0.0;
      out.score_H.push_back(scored ? on_answers_[h] / total_[h]
                                   : std::numeric_limits<double>::quiet_NaN());
    }
    return out;
  }

 private:
  std::vector<double> on_answers_;
  std::vector<double> total_;
  std::vector<int64_t> acts_;
};

/// Activations of the heads that score best in arithmetic, above chance.
std::vector<OperandPlot> operand_plots(const FamilyScores& scores,
                                       const ArithmeticProbe& probe,
                                       const std::vector<Act>& acts,
                                       int64_t num_plots) {
  std::vector<int64_t> heads = scores.heads_above(scores.chance);
  heads.resize(std::min(heads.size(), static_cast<size_t>(num_plots)));
  const size_t n = probe.operands.size();
  std::vector<OperandPlot> plots;
  for (const int64_t head : heads) {
    const size_t first = plots.size();
    for (const std::string& sign : probe.signs) {
      plots.push_back({head, scores.score_H[static_cast<size_t>(head)], sign, probe.operands,
                       std::vector<std::vector<float>>(n, std::vector<float>(n))});
    }
    for (const Act& act : acts) {
      if (act.head == head) {
        const size_t sign = act.query / (n * n);
        plots[first + sign].activation[act.query / n % n][act.query % n] = act.value;
      }
    }
  }
  return plots;
}

}  // namespace

const std::vector<std::string>& family_names() {
  static const std::vector<std::string> names = {
      "induction",          "duplicate_token",     "previous_token", "attention_sink",
      "subtoken_induction", "character_induction", "successor",      "topic",
      "arithmetic"};
  return names;
}

std::vector<int64_t> FamilyScores::heads_above(double share) const {
  std::vector<int64_t> heads;
  for (size_t h = 0; h < score_H.size(); ++h) {
    if (score_H[h] > share) {
      heads.push_back(static_cast<int64_t>(h));
    }
  }
  std::stable_sort(heads.begin(), heads.end(), [&](int64_t a, int64_t b) {
    return score_H[static_cast<size_t>(a)] > score_H[static_cast<size_t>(b)];
  });
  return heads;
}

int64_t FamilyScores::num_scored() const {
  return std::count_if(score_H.begin(), score_H.end(), [](double s) { return !std::isnan(s); });
}

FamilyReport score_families(const lm::LanguageModel& model,
                            const lm::Tokenizer& tokenizer,
                            const model::Dictionary& folded,
                            int64_t layer,
                            const ProbeOptions& options,
                            Progress::Visible progress) {
  LORSA_CHECK(folded.shape().num_qk_heads > 0, ConfigError,
              "families are told apart by where heads read; features of {} do not",
              folded.info().noun);
  std::vector<Probe> probes = random_token_probes(tokenizer, options);
  for (Probe& probe : text_probes(tokenizer, options)) {
    probes.push_back(std::move(probe));
  }
  const ArithmeticProbe arithmetic = arithmetic_probe(tokenizer, options);
  probes.push_back(arithmetic.probe);
  int64_t num_tokens = 0;
  for (const Probe& probe : probes) {
    num_tokens += probe.tokens_BT.numel();
  }
  ProbeRunner runner(model, folded, layer);
  FamilyReport report;
  report.group = folded.shape().group();
  Progress bar("families", num_tokens, "tokens", 0, progress);
  int64_t done = 0;
  for (const Probe& probe : probes) {
    Tally tally(folded.shape().num_ov_heads);
    std::vector<Act> kept;
    const bool plotted = &probe == &probes.back();
    runner.run(
        probe,
        [&](const Act& act) {
          tally.add(act);
          if (plotted) {
            kept.push_back(act);
          }
        },
        [&](int64_t rows) { bar.update(done + rows * probe.tokens_BT.size(1), probe.family); });
    done += probe.tokens_BT.numel();
    report.families.push_back(tally.scores(probe));
    if (plotted) {
      report.plots = operand_plots(report.families.back(), arithmetic, kept, options.num_plots);
    }
  }
  bar.finish();
  return report;
}

std::vector<std::map<std::string, double>> FamilyReport::by_head() const {
  std::vector<std::map<std::string, double>> by_head;
  for (const FamilyScores& family : families) {
    by_head.resize(family.score_H.size());
    for (size_t h = 0; h < family.score_H.size(); ++h) {
      if (!std::isnan(family.score_H[h])) {
        by_head[h][family.family] = family.score_H[h];
      }
    }
  }
  return by_head;
}

std::map<std::string, std::vector<int64_t>> FamilyReport::named_heads() const {
  std::map<std::string, std::vector<int64_t>> named;
  for (const FamilyScores& family : families) {
    named[family.family] = family.heads();
  }
  return named;
}

}  // namespace lorsa::analysis
