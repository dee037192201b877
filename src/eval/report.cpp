#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

#include "lorsa/core/error.h"
#include "lorsa/eval/evaluate.h"

namespace lorsa::eval {
namespace {

// JSON has no NaN: a position without scored tokens is null.
io::Json numbers(const at::Tensor& values) {
  io::Json list = io::Json::array();
  const at::Tensor flat = values.to(at::kCPU, at::kDouble).contiguous();
  for (int64_t i = 0; i < flat.numel(); ++i) {
    const double value = flat.data_ptr<double>()[i];
    list.push_back(std::isfinite(value) ? io::Json(value) : io::Json(nullptr));
  }
  return list;
}

void line(std::ostringstream& out, const char* name, double value, const char* note = "") {
  out << "  " << std::left << std::setw(20) << name << std::right << std::setw(12)
      << std::setprecision(4) << std::fixed << value << "  " << note << '\n';
}

}  // namespace

io::Json to_json(const EvalReport& r) {
  io::Json json;
  json["schema"] = "lorsa-eval-1";
  json["checkpoint"] = r.checkpoint;
  json["kind"] = r.kind;
  json["model"] = r.model_name;
  json["layer"] = r.layer;
  json["num_ov_heads"] = r.num_ov_heads;
  json["top_k"] = r.top_k;
  json["num_rows"] = r.num_rows;
  json["num_tokens"] = r.reconstruction.num_tokens;
  json["fvu"] = r.reconstruction.fvu;
  json["explained_variance"] = r.reconstruction.explained_variance;
  json["mse"] = r.reconstruction.mse;
  json["l2_error_ratio"] = r.reconstruction.l2_error_ratio;
  json["cosine"] = r.reconstruction.cosine;
  json["l0"] = r.usage.l0;
  json["dead_fraction"] = r.usage.dead_fraction;
  json["dead_window_tokens"] = r.usage.num_tokens;
  json["rare_fraction"] = r.usage.rare_fraction;
  json["dense_fraction"] = r.usage.dense_fraction;
  json["firing_rate_histogram"] = {{"log10_edges", r.usage.histogram_edges},
                                   {"heads", r.usage.histogram_counts}};
  if (r.language) {
    json["num_predictions"] = r.language->num_predictions;
    json["ce_original"] = r.language->ce_original;
    json["ce_replaced"] = r.language->ce_replaced;
    json["ce_zero_ablated"] = r.language->ce_zero_ablated;
    json["ce_mean_ablated"] = r.language->ce_mean_ablated;
    json["ce_recovered"] = r.language->ce_recovered;
    json["kl"] = r.language->kl;
  }
  if (r.interventions) {
    json["interventions"] = to_json(*r.interventions);
  }
  json["fvu_per_position"] = numbers(r.reconstruction.fvu_per_position);
  return json;
}

std::string to_table(const EvalReport& r) {
  std::ostringstream out;
  out << r.checkpoint << " on " << r.model_name << " layer " << r.layer << ", " << r.num_rows
      << " held-out rows, " << r.reconstruction.num_tokens << " scored tokens\n";
  line(out, "fvu", r.reconstruction.fvu, "unexplained share of the target's variance");
  line(out, "explained_variance", r.reconstruction.explained_variance);
  line(out, "mse", r.reconstruction.mse);
  line(out, "l2_error_ratio", r.reconstruction.l2_error_ratio);
  line(out, "cosine", r.reconstruction.cosine);
  line(out, "l0", r.usage.l0, concat("of at most K = ", r.top_k).c_str());
  line(out,
       "dead_fraction",
       r.usage.dead_fraction,
       concat("of ", r.num_ov_heads, " heads, in these tokens").c_str());
  line(out, "rare_fraction", r.usage.rare_fraction, "rate below 1e-5");
  line(out, "dense_fraction", r.usage.dense_fraction, "rate above 0.1");
  if (r.language) {
    line(out, "ce_original", r.language->ce_original, "nats a token");
    line(out, "ce_replaced", r.language->ce_replaced);
    line(out, "ce_zero_ablated", r.language->ce_zero_ablated);
    line(out, "ce_mean_ablated", r.language->ce_mean_ablated);
    line(out, "ce_recovered", r.language->ce_recovered, "(zero - replaced) / (zero - original)");
    line(out, "kl", r.language->kl, "nats, original to replaced");
  }
  if (r.interventions) {
    out << to_table(*r.interventions);
  }
  return out.str();
}

std::string to_table(const std::vector<EvalReport>& reports) {
  LORSA_CHECK(!reports.empty(), Error, "a table of no reports");
  if (reports.size() == 1) {
    return to_table(reports.front());
  }
  constexpr int kNameWidth = 20;
  const EvalReport& first = reports.front();
  std::ostringstream out;
  out << first.model_name << " layer " << first.layer << ", " << first.num_rows
      << " held-out rows, " << first.reconstruction.num_tokens << " scored tokens\n";
  for (size_t i = 0; i < reports.size(); ++i) {
    const EvalReport& r = reports[i];
    out << "  " << i + 1 << "  " << r.kind << ", " << r.num_ov_heads
        << (r.kind == "sae" ? " features" : " OV heads") << ", K " << r.top_k << ": "
        << r.checkpoint << '\n';
  }
  out << std::left << std::setw(kNameWidth + 2) << "" << std::right;
  for (size_t i = 0; i < reports.size(); ++i) {
    out << std::setw(12) << i + 1;
  }
  out << '\n' << std::setprecision(4) << std::fixed;
  std::vector<io::Json> columns;
  std::transform(reports.begin(), reports.end(), std::back_inserter(columns), [](const auto& r) {
    return to_json(r);
  });
  for (const char* name : {"fvu",
                           "explained_variance",
                           "mse",
                           "l2_error_ratio",
                           "cosine",
                           "l0",
                           "dead_fraction",
                           "rare_fraction",
                           "dense_fraction",
                           "ce_original",
                           "ce_replaced",
                           "ce_zero_ablated",
                           "ce_mean_ablated",
                           "ce_recovered",
                           "kl"}) {
    const auto has = [&](const io::Json& column) { return column.contains(name); };
    if (std::none_of(columns.begin(), columns.end(), has)) {
      continue;
    }
    out << "  " << std::left << std::setw(kNameWidth) << name << std::right;
    for (const io::Json& column : columns) {
      out << std::setw(12);
      has(column) ? out << column.at(name).get<double>() : out << "";
    }
    out << '\n';
  }
  return out.str();
}

}  // namespace lorsa::eval
