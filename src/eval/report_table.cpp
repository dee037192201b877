#include <ATen/ATen.h>

#include <algorithm>
#include <iomanip>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "lorsa/core/error.h"
#include "lorsa/eval/evaluate.h"

namespace lorsa::eval {
namespace {

constexpr int kNameWidth = 20;
constexpr int kColumnWidth = 12;

void line(std::ostringstream& out, const char* name, double value, const char* note = "") {
  out << "  " << std::left << std::setw(20) << name << std::right << std::setw(12)
      << std::setprecision(4) << std::fixed << value << "  " << note << '\n';
}

std::string buckets_text(const LongContextReport& r) {
  std::ostringstream out;
  out << "; at " << kBucketPositions << " positions each:" << std::setprecision(3) << std::fixed;
  for (const double fvu : r.fvu_per_bucket) {
    out << ' ' << fvu;
  }
  return out.str();
}

std::string long_context_name(const LongContextReport& r) {
  return formatted("fvu at {}", r.context_length);
}

/// to_json() with the fvu of longer contexts beside the other numbers.
io::Json flat_json(const EvalReport& report) {
  io::Json json = to_json(report);
  for (const LongContextReport& context : report.long_contexts) {
    json[long_context_name(context)] = context.fvu;
  }
  return json;
}

/// What a column may hold, from top to bottom; all reports of a call have the same long contexts.
std::vector<std::string> row_names(const EvalReport& report) {
  std::vector<std::string> names{"fvu",
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
                                 "kl",
                                 "attention_fidelity",
                                 "head_spread"};
  std::transform(report.long_contexts.begin(), report.long_contexts.end(),
                 std::back_inserter(names), long_context_name);
  return names;
}

void line_of_numbers(std::ostringstream& out, size_t count) {
  out << std::left << std::setw(kNameWidth + 2) << "" << std::right;
  for (size_t i = 0; i < count; ++i) {
    out << std::setw(kColumnWidth) << i + 1;
  }
  out << '\n' << std::setprecision(4) << std::fixed;
}

/// The matrices of SharedError, one below the other.
void shared_errors(std::ostringstream& out, const std::vector<EvalReport>& reports) {
  if (reports.front().shared_errors.size() != reports.size()) {
    return;
  }
  const auto matrix = [&](const char* title, double SharedError::*number) {
    out << title << '\n';
    for (size_t i = 0; i < reports.size(); ++i) {
      out << "  " << std::left << std::setw(kNameWidth) << i + 1 << std::right;
      for (const SharedError& shared : reports[i].shared_errors) {
        out << std::setw(kColumnWidth) << shared.*number;
      }
      out << '\n';
    }
  };
  matrix("cosine of the errors, mean over tokens", &SharedError::cosine);
  matrix("correlation of the squared error norms", &SharedError::squared_norm_correlation);
  matrix("share of one's squared error that the other's explains", &SharedError::explained);
}

}  // namespace

std::string to_table(const EvalReport& r) {
  std::ostringstream out;
  out << r.checkpoint << " on " << r.model_name << ' ' << to_string(r.site) << ", " << r.num_rows
      << " held-out rows, " << r.reconstruction.num_tokens << " scored tokens\n";
  line(out, "fvu", r.reconstruction.fvu, "unexplained share of the target's variance");
  line(out, "explained_variance", r.reconstruction.explained_variance);
  line(out, "mse", r.reconstruction.mse);
  line(out, "l2_error_ratio", r.reconstruction.l2_error_ratio);
  line(out, "cosine", r.reconstruction.cosine);
  line(out, "l0", r.usage.l0, formatted("of at most K = {}", r.top_k).c_str());
  line(out, "dead_fraction", r.usage.dead_fraction,
       formatted("of {} heads, in these tokens", r.num_ov_heads).c_str());
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
  if (r.patterns) {
    line(out, "attention_fidelity", r.patterns->fidelity,
         formatted("nats to the closest QK head, over {} MHSA heads and {} rows",
                   r.patterns->divergence_NS.size(0), r.patterns->num_rows)
             .c_str());
    line(out, "  mass on token 0", r.patterns->first_mass_N.mean().item<double>(), "MHSA heads");
    line(out, "", r.patterns->first_mass_S.mean().item<double>(), "QK heads");
  }
  if (r.spread) {
    line(
        out, "head_spread", r.spread->head_spread,
        formatted("of {} acting: no MHSA head's space holds {}", r.spread->num_heads, kOneHeadShare)
            .c_str());
  }
  for (const LongContextReport& c : r.long_contexts) {
    line(out, long_context_name(c).c_str(), c.fvu,
         formatted("{}{}{}", c.num_rows, c.num_rows == 1 ? " row" : " rows", buckets_text(c))
             .c_str());
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
  const EvalReport& first = reports.front();
  std::ostringstream out;
  out << first.model_name << ' ' << to_string(first.site) << ", " << first.num_rows
      << " held-out rows, " << first.reconstruction.num_tokens << " scored tokens\n";
  for (size_t i = 0; i < reports.size(); ++i) {
    const EvalReport& r = reports[i];
    out << "  " << i + 1 << "  " << r.kind << ", " << r.num_ov_heads
        << (r.has_heads ? " OV heads" : " features") << ", K " << r.top_k << ": " << r.checkpoint
        << '\n';
  }
  line_of_numbers(out, reports.size());
  std::vector<io::Json> columns;
  std::transform(reports.begin(), reports.end(), std::back_inserter(columns), flat_json);
  for (const std::string& name : row_names(first)) {
    const auto has = [&](const io::Json& column) { return column.contains(name); };
    if (std::none_of(columns.begin(), columns.end(), has)) {
      continue;
    }
    out << "  " << std::left << std::setw(kNameWidth) << name << std::right;
    for (const io::Json& column : columns) {
      out << std::setw(kColumnWidth);
      has(column) ? out << column.at(name).get<double>() : out << "";
    }
    out << '\n';
  }
  shared_errors(out, reports);
  return out.str();
}

}  // namespace lorsa::eval
