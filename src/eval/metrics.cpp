#include "lorsa/eval/metrics.h"

#include <ATen/ATen.h>

#include "lorsa/core/error.h"

namespace lorsa::eval {
namespace {

using Value = std::optional<double>;

/// A number of a part of the report that may be missing.
template <auto part, auto number>
Value of_part(const EvalReport& r) {
  return r.*part ? Value((*(r.*part)).*number) : std::nullopt;
}

template <auto number>
Value of_reconstruction(const EvalReport& r) {
  return r.reconstruction.*number;
}

template <auto number>
Value of_usage(const EvalReport& r) {
  return r.usage.*number;
}

template <auto number>
constexpr auto of_language = of_part<&EvalReport::language, number>;

template <auto masses>
Value mean_mass(const EvalReport& r) {
  return r.patterns ? Value(((*r.patterns).*masses).mean().template item<double>()) : std::nullopt;
}

}  // namespace

const std::vector<Metric>& eval_metrics() {
  using enum Better;
  using R = metrics::ReconstructionReport;
  using U = metrics::UsageReport;
  using L = LanguageReport;
  static const std::vector<Metric> kMetrics = {
      {"fvu", "", kLower, "unexplained share of the target's variance", of_reconstruction<&R::fvu>},
      {"explained_variance", "", kHigher, "1 - fvu", of_reconstruction<&R::explained_variance>},
      {"mse", "", kLower, "squared error, mean over tokens and dimensions",
       of_reconstruction<&R::mse>},
      {"l2_error_ratio", "", kLower, "norm of the error over the target's, mean over tokens",
       of_reconstruction<&R::l2_error_ratio>},
      {"cosine", "", kHigher, "mean cosine of output and target", of_reconstruction<&R::cosine>},
      {"l0", "", kNeither, "heads that act at a scored token, mean", of_usage<&U::l0>},
      {"dead_fraction", "", kLower, "heads that act at none of these tokens",
       of_usage<&U::dead_fraction>},
      {"rare_fraction", "", kLower, "heads with a rate below 1e-5", of_usage<&U::rare_fraction>},
      {"dense_fraction", "", kLower, "heads with a rate above 0.1", of_usage<&U::dense_fraction>},
      {"ce_original", "nats", kNeither, "cross-entropy of the untouched model",
       of_language<&L::ce_original>},
      {"ce_replaced", "nats", kLower, "with the dictionary's output in the place of the site's",
       of_language<&L::ce_replaced>},
      {"ce_zero_ablated", "nats", kNeither, "with zeros there", of_language<&L::ce_zero_ablated>},
      {"ce_mean_ablated", "nats", kNeither, "with the mean target there",
       of_language<&L::ce_mean_ablated>},
      {"ce_recovered", "", kHigher, "(zero - replaced) / (zero - original)",
       of_language<&L::ce_recovered>},
      {"kl", "nats", kLower, "from the untouched model's next tokens to the replaced one's",
       of_language<&L::kl>},
      {"attention_fidelity", "nats", kLower,
       "KL to the closest QK head's pattern, mean over MHSA heads",
       of_part<&EvalReport::patterns, &PatternReport::fidelity>},
      {"mhsa_first_token_mass", "", kNeither, "pattern mass on a row's first token, MHSA heads",
       mean_mass<&PatternReport::first_mass_N>},
      {"qk_first_token_mass", "", kNeither, "the same of the QK heads",
       mean_mass<&PatternReport::first_mass_S>},
      {"head_spread", "", kNeither, "acting heads of which no MHSA head's space holds 0.9",
       of_part<&EvalReport::spread, &SpreadReport::head_spread>}};
  return kMetrics;
}

std::string to_string(Better better) {
  return better == Better::kLower ? "lower" : better == Better::kHigher ? "higher" : "";
}

std::string metrics_markdown() {
  std::string text = "| metric | unit | better | meaning |\n|---|---|---|---|\n";
  for (const Metric& metric : eval_metrics()) {
    text += formatted("| `{}` | {} | {} | {} |\n", metric.name, metric.unit,
                      to_string(metric.better), metric.meaning);
  }
  return text;
}

}  // namespace lorsa::eval
