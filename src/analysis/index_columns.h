#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "analysis/head_record.h"
#include "lorsa/io/json.h"

namespace lorsa::analysis {

/// What the explorer's list holds of all heads, by columns: a third of the size of the index's
/// entries, and read in one go at 32,768 heads. Texts of tokens stand once in a table; columns
/// refer to it by place, -1 where there is none.
class IndexColumns {
 public:
  /// Takes the next head; heads come in order.
  void add(const HeadRecord& record, TokenTexts& texts);

  /// The file explorer/data/index.js: lorsaIndex() of `summary` (an object) with the columns added.
  [[nodiscard]] std::string script(const io::Json& summary) const;

 private:
  int32_t place(int32_t token, TokenTexts& texts);
  void add_scores(const HeadRecord& record);

  int64_t num_heads_ = 0;
  std::vector<int64_t> qk_head_;
  std::vector<int64_t> count_;
  std::vector<double> max_;
  std::vector<int32_t> top_tokens_;  // kIndexTokens a head
  std::vector<int32_t> peak_token_;
  std::vector<int32_t> source_token_;
  std::vector<int64_t> layer_;                        // -1: not stated
  std::map<std::string, std::vector<double>> score_;  // by family; NaN: not stated

  std::unordered_map<int32_t, int32_t> places_;  // token id to place in texts_
  std::vector<std::string> texts_;               // quoted
};

}  // namespace lorsa::analysis
