#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "lorsa/eval/evaluate.h"
#include "lorsa/study/study.h"

namespace lorsa::eval {

/// Something that is measured of a study's members while their rows pass by.
class Measure {
 public:
  Measure() = default;
  virtual ~Measure() = default;
  Measure(const Measure&) = delete;
  Measure& operator=(const Measure&) = delete;

  virtual void add(const study::StudyBatch& batch) = 0;
  /// Puts what was measured into the reports, one for each member, behind the last row.
  virtual void fill(std::vector<EvalReport>& reports) = 0;
};

using Measures = std::vector<std::unique_ptr<Measure>>;

// All borrow the study. A function below gives null where its measure does not apply.

/// Reconstruction, usage and, of attention, spread.
[[nodiscard]] std::unique_ptr<Measure> measure_outputs(const study::Study& study);

/// PatternReports of the first `max_rows` rows.
[[nodiscard]] std::unique_ptr<Measure> measure_patterns(const study::Study& study,
                                                        int64_t max_rows);

/// LanguageReports. What does not depend on a dictionary is computed once for all: the run below
/// the site, the untouched one and the two ablated ones.
[[nodiscard]] std::unique_ptr<Measure> measure_language(const study::Study& study);

/// SharedErrors of several members.
[[nodiscard]] std::unique_ptr<Measure> measure_shared_errors(const study::Study& study);

}  // namespace lorsa::eval
