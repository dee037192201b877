#include <algorithm>
#include <functional>
#include <iomanip>
#include <sstream>
#include <string>
#include <vector>

#include "lorsa/core/error.h"
#include "lorsa/eval/metrics.h"

namespace lorsa::eval {
namespace {

constexpr int kNameWidth = 22;
constexpr int kColumnWidth = 12;

std::string note_of(const Metric& metric) {
  return *metric.unit == '\0' ? metric.meaning : formatted("{}, {}", metric.unit, metric.meaning);
}

std::string note_of(const LongContextReport& r) {
  std::ostringstream out;
  out << r.num_rows << (r.num_rows == 1 ? " row" : " rows") << "; at " << kBucketPositions
      << " positions each:" << std::setprecision(3) << std::fixed;
  for (const double fvu : r.fvu_per_bucket) {
    out << ' ' << fvu;
  }
  return out.str();
}

class Table {
 public:
  explicit Table(const std::vector<EvalReport>& reports) : reports_(reports) {
    out_ << std::setprecision(4) << std::fixed;
  }

  void head() {
    const EvalReport& first = reports_.front();
    out_ << first.model_name << ' ' << to_string(first.site) << ", " << first.num_rows
         << " held-out rows, " << first.reconstruction.num_tokens << " scored tokens\n";
    for (size_t i = 0; i < reports_.size(); ++i) {
      const EvalReport& r = reports_[i];
      out_ << "  " << (alone() ? "" : std::to_string(i + 1) + "  ") << r.kind << ", "
           << r.num_ov_heads << (r.has_heads ? " OV heads" : " features") << ", K " << r.top_k
           << ": " << r.checkpoint << '\n';
    }
    if (!alone()) {
      name("");
      for (size_t i = 0; i < reports_.size(); ++i) {
        out_ << std::setw(kColumnWidth) << i + 1;
      }
      out_ << '\n';
    }
  }

  /// Nothing where no report has the value.
  void line(const std::string& title,
            const std::function<std::optional<double>(const EvalReport&)>& value,
            const std::string& note) {
    if (std::none_of(reports_.begin(), reports_.end(),
                     [&](const EvalReport& r) { return value(r).has_value(); })) {
      return;
    }
    name(title);
    for (const EvalReport& report : reports_) {
      const std::optional<double> found = value(report);
      out_ << std::setw(kColumnWidth);
      found ? out_ << *found : out_ << "";
    }
    out_ << (alone() ? "  " + note : "") << '\n';
  }

  /// The matrices of SharedError, one below the other.
  void shared_errors() {
    const auto matrix = [&](const char* title, double SharedError::*number) {
      out_ << title << '\n';
      for (size_t i = 0; i < reports_.size(); ++i) {
        name(std::to_string(i + 1));
        for (const SharedError& shared : reports_[i].shared_errors) {
          out_ << std::setw(kColumnWidth) << shared.*number;
        }
        out_ << '\n';
      }
    };
    if (!reports_.front().shared_errors.empty()) {
      matrix("cosine of the errors, mean over tokens", &SharedError::cosine);
      matrix("correlation of the squared error norms", &SharedError::squared_norm_correlation);
      matrix("share of one's squared error that the other's explains", &SharedError::explained);
    }
  }

  [[nodiscard]] std::string text() const { return out_.str(); }

 private:
  [[nodiscard]] bool alone() const { return reports_.size() == 1; }

  void name(const std::string& title) {
    out_ << "  " << std::left << std::setw(kNameWidth) << title << std::right;
  }

  const std::vector<EvalReport>& reports_;
  std::ostringstream out_;
};

}  // namespace

std::string to_table(const std::vector<EvalReport>& reports) {
  LORSA_CHECK(!reports.empty(), Error, "a table of no reports");
  Table table(reports);
  table.head();
  for (const Metric& metric : eval_metrics()) {
    table.line(metric.name, metric.of, note_of(metric));
  }
  const std::vector<LongContextReport>& contexts = reports.front().long_contexts;
  for (size_t i = 0; i < contexts.size(); ++i) {  // all reports of a call have the same
    table.line(
        formatted("fvu at {}", contexts[i].context_length),
        [i](const EvalReport& r) { return std::optional(r.long_contexts.at(i).fvu); },
        note_of(contexts[i]));
  }
  table.shared_errors();
  const EvalReport& first = reports.front();
  return table.text() + (first.interventions ? to_table(*first.interventions) : "");
}

}  // namespace lorsa::eval
