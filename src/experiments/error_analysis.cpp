#include "lorsa/experiments/error_analysis.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <array>
#include <cmath>
#include <tuple>

#include "experiments/error_norms.h"
#include "experiments/error_pass.h"
#include "experiments/error_regression.h"
#include "lorsa/core/error.h"
#include "lorsa/metrics/reconstruction.h"

namespace lorsa::experiments {
namespace {

std::vector<double> numbers(const at::Tensor& values_n) {
  const at::Tensor flat = values_n.cpu().contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

/// The three regressions of the error vector.
struct VectorRegressions {
  VectorRegression reference, input, target;

  void fit(const ErrorBatch& batch) {
    reference.fit(batch.reference_nD, batch.error_nD);
    input.fit(batch.input_nD, batch.error_nD);
    target.fit(batch.target_nD, batch.error_nD);
  }

  void solve() {
    reference.solve();
    input.solve();
    target.solve();
  }

  void judge(const ErrorBatch& batch) {
    reference.judge(batch.reference_nD, batch.error_nD);
    input.judge(batch.input_nD, batch.error_nD);
    target.judge(batch.target_nD, batch.error_nD);
  }
};

/// How targets and both errors scatter over the held-out tokens.
struct Scatters {
  ScatterMeter target, error, reference;

  void add(const ErrorBatch& batch) {
    target.add(batch.target_nD, batch.target_nD);
    error.add(batch.error_nD, batch.error_nD);
    reference.add(batch.reference_nD, batch.reference_nD);
  }
};

void fill_directions(const Scatters& scatters, ErrorAnalysis& analysis) {
  // Smaller ones are rounding, of the cache's numbers at the least.
  constexpr double kSmallest = 1e-9;
  const auto [ascending_D, vectors_DD] = at::linalg_eigh(scatters.target.scatter_DF());
  const at::Tensor variance_D = ascending_D.flip(0);
  const double total = variance_D.sum().item<double>();
  const auto count = (variance_D > kSmallest * variance_D[0].clamp_min(0.0)).sum().item<int64_t>();
  const at::Tensor kept_C = variance_D.narrow(0, 0, count);
  const at::Tensor u_DC = vectors_DD.flip(1).narrow(1, 0, count);
  const auto along = [&](const ScatterMeter& scatter) {
    return (u_DC * at::mm(scatter.scatter_DF(), u_DC)).sum(0);
  };
  analysis.variance_share = numbers(kept_C / total);
  analysis.unexplained = numbers(along(scatters.error) / kept_C);
  analysis.reference_unexplained = numbers(along(scatters.reference) / kept_C);
}

io::Json list(const std::vector<double>& values) {
  io::Json json = io::Json::array();
  for (const double value : values) {
    json.push_back(io::finite_or_null(value));
  }
  return json;
}

}  // namespace

ErrorAnalysis analyze_errors(const study::Study& study,
                             const study::PassOptions& options,
                             int64_t max_fit_rows) {
  const at::NoGradGuard no_grad;
  const ErrorPass pass(study, options, max_fit_rows);
  const int64_t T = pass.manifest().context_length;
  VectorRegressions vectors;
  TokenTableBuilder fit_tokens, judged_tokens;
  pass.over_fit_rows([&](const ErrorBatch& batch) {
    vectors.fit(batch);
    fit_tokens.add(batch);
  });
  const TokenTable fit = fit_tokens.table();
  LORSA_CHECK(fit.num_tokens() > 0, ConfigError, "{}: no scored token in training rows to fit on",
              study.cache().folder());
  vectors.solve();

  Scatters scatters;
  std::array<metrics::ReconstructionMeter, 2> meters{
      metrics::ReconstructionMeter(T, pass.manifest().d_model),
      metrics::ReconstructionMeter(T, pass.manifest().d_model)};
  pass.over_heldout_rows([&](const ErrorBatch& batch) {
    vectors.judge(batch);
    judged_tokens.add(batch);
    scatters.add(batch);
    const ErrorBatch::Outputs& out = batch.outputs;
    meters[0].add(out.y_BTD, out.target_BTD, out.scored_BT);
    meters[1].add(out.reference_y_BTD, out.target_BTD, out.scored_BT);
  });
  const TokenTable judged = judged_tokens.table();
  LORSA_CHECK(judged.num_tokens() > 0, ConfigError, "{}: no scored token is held out",
              study.cache().folder());

  ErrorAnalysis analysis;
  analysis.checkpoint = study.members()[0].name;
  analysis.reference = study.members()[1].name;
  analysis.num_fit_tokens = fit.num_tokens();
  analysis.num_tokens = judged.num_tokens();
  analysis.fvu = meters[0].report().fvu;
  analysis.reference_fvu = meters[1].report().fvu;
  const double variance = scatters.error.scatter_DF().trace().item<double>();
  analysis.vector_from_reference = vectors.reference.share(variance);
  analysis.vector_from_input = vectors.input.share(variance);
  analysis.vector_from_target = vectors.target.share(variance);
  analysis.norm_from = norm_shares(fit, judged, T);
  analysis.by_target_norm = bins_by_target_norm(judged);
  std::tie(analysis.log_slope, analysis.log_correlation) = log_log(judged);
  fill_directions(scatters, analysis);
  return analysis;
}

io::Json to_json(const ErrorAnalysis& a) {
  io::Json norm_from = io::Json::object();
  for (const auto& [name, share] : a.norm_from) {
    norm_from[name] = io::finite_or_null(share);
  }
  io::Json bins = io::Json::array();
  for (const ErrorAnalysis::Bin& bin : a.by_target_norm) {
    bins.push_back({{"target_norm", io::finite_or_null(bin.target_norm)},
                    {"error_norm", io::finite_or_null(bin.error_norm)},
                    {"reference_error_norm", io::finite_or_null(bin.reference_error_norm)}});
  }
  return {{"checkpoint", a.checkpoint},
          {"reference", a.reference},
          {"num_fit_tokens", a.num_fit_tokens},
          {"num_tokens", a.num_tokens},
          {"fvu", io::finite_or_null(a.fvu)},
          {"reference_fvu", io::finite_or_null(a.reference_fvu)},
          {"vector_from_reference", io::finite_or_null(a.vector_from_reference)},
          {"vector_from_input", io::finite_or_null(a.vector_from_input)},
          {"vector_from_target", io::finite_or_null(a.vector_from_target)},
          {"norm_from", norm_from},
          {"by_target_norm", bins},
          {"log_slope", io::finite_or_null(a.log_slope)},
          {"log_correlation", io::finite_or_null(a.log_correlation)},
          {"variance_share", list(a.variance_share)},
          {"unexplained", list(a.unexplained)},
          {"reference_unexplained", list(a.reference_unexplained)}};
}

}  // namespace lorsa::experiments
