#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <vector>

#include "lorsa/eval/metrics.h"

namespace lorsa::eval {
namespace {

// JSON has no NaN: a position without scored tokens is null.
io::Json numbers(const at::Tensor& values) {
  io::Json list = io::Json::array();
  const at::Tensor flat = values.to(at::kCPU, at::kDouble).contiguous();
  for (int64_t i = 0; i < flat.numel(); ++i) {
    const double value = flat.data_ptr<double>()[i];
    list.push_back(io::finite_or_null(value));
  }
  return list;
}

io::Json attention_json(const PatternReport& r) {
  const int64_t N = r.divergence_NS.size(0);
  const int64_t S = r.divergence_NS.size(1);
  io::Json json{{"num_rows", r.num_rows}, {"num_queries", r.num_queries}};
  json["mhsa_heads"] = io::Json::array();
  json["qk_heads"] = io::Json::array();
  json["kl"] = io::Json::array();
  for (int64_t n = 0; n < N; ++n) {
    const auto closest = r.closest_qk_N[n].item<int64_t>();
    json["mhsa_heads"].push_back(
        {{"closest_qk_head", closest},
         {"kl", r.divergence_NS[n][closest].item<double>()},
         {"first_token_mass", r.first_mass_N[n].item<double>()},
         {"closest_first_token_mass", r.first_mass_S[closest].item<double>()}});
    json["kl"].push_back(numbers(r.divergence_NS[n]));
  }
  for (int64_t s = 0; s < S; ++s) {
    const auto closest = r.closest_mhsa_S[s].item<int64_t>();
    json["qk_heads"].push_back({{"closest_mhsa_head", closest},
                                {"kl", r.divergence_NS[closest][s].item<double>()},
                                {"first_token_mass", r.first_mass_S[s].item<double>()}});
  }
  return json;
}

io::Json long_context_json(const LongContextReport& r) {
  return {{"context_length", r.context_length},   {"num_rows", r.num_rows},
          {"num_tokens", r.num_tokens},           {"fvu", r.fvu},
          {"bucket_positions", kBucketPositions}, {"fvu_per_bucket", r.fvu_per_bucket}};
}

io::Json shared_error_json(const SharedError& r) {
  return {{"checkpoint", r.checkpoint},
          {"cosine", r.cosine},
          {"squared_norm_correlation", r.squared_norm_correlation},
          {"explained", r.explained}};
}

template <typename T>
io::Json list_of(const std::vector<T>& entries, io::Json (*to_object)(const T&)) {
  io::Json list = io::Json::array();
  std::transform(entries.begin(), entries.end(), std::back_inserter(list), to_object);
  return list;
}

}  // namespace

io::Json to_json(const EvalReport& r) {
  io::Json json;
  json["schema"] = "lorsa-eval-1";
  json["checkpoint"] = r.checkpoint;
  json["kind"] = r.kind;
  json["model"] = r.model_name;
  json["layer"] = r.site.layer;
  json["component"] = to_string(r.site.component);
  json["num_ov_heads"] = r.num_ov_heads;
  json["top_k"] = r.top_k;
  json["num_rows"] = r.num_rows;
  json["num_tokens"] = r.reconstruction.num_tokens;
  for (const Metric& metric : eval_metrics()) {
    if (const std::optional<double> value = metric.of(r)) {
      json[metric.name] = io::finite_or_null(*value);
    }
  }
  json["dead_window_tokens"] = r.usage.num_tokens;
  json["firing_rate_histogram"] = {{"log10_edges", r.usage.histogram_edges},
                                   {"heads", r.usage.histogram_counts}};
  if (r.language) {
    json["num_predictions"] = r.language->num_predictions;
  }
  if (r.interventions) {
    json["interventions"] = to_json(*r.interventions);
  }
  if (r.patterns) {
    json["attention"] = attention_json(*r.patterns);
  }
  if (r.spread) {
    json["largest_output_share"] = {{"one_head_share", kOneHeadShare},
                                    {"num_heads", r.spread->num_heads},
                                    {"heads", r.spread->histogram_counts}};
  }
  json["fvu_per_position"] = numbers(r.reconstruction.fvu_per_position);
  if (!r.long_contexts.empty()) {
    json["long_contexts"] = list_of(r.long_contexts, long_context_json);
  }
  if (!r.shared_errors.empty()) {
    json["shared_errors"] = list_of(r.shared_errors, shared_error_json);
  }
  return json;
}

}  // namespace lorsa::eval
