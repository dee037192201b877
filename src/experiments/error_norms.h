#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "experiments/error_pass.h"
#include "lorsa/experiments/error_analysis.h"

namespace lorsa::experiments {

/// What is kept of every token for the numbers about norms. On the CPU, n tokens: norms and
/// entropies double, the rest int64.
struct TokenTable {
  at::Tensor error_n, reference_n, target_n;  ///< norms
  at::Tensor position_n, token_n;
  at::Tensor entropy_nN;

  [[nodiscard]] int64_t num_tokens() const { return error_n.defined() ? error_n.size(0) : 0; }
};

/// Joins the tokens of batches.
class TokenTableBuilder {
 public:
  void add(const ErrorBatch& batch);
  [[nodiscard]] TokenTable table() const;

 private:
  std::vector<TokenTable> parts_;
};

/// ErrorAnalysis::norm_from. Tokens are counted in `fit`.
[[nodiscard]] std::vector<std::pair<std::string, double>> norm_shares(const TokenTable& fit,
                                                                      const TokenTable& judged,
                                                                      int64_t context_length);

/// ErrorAnalysis::by_target_norm. Equal norms: the earlier token first.
[[nodiscard]] std::vector<ErrorAnalysis::Bin> bins_by_target_norm(const TokenTable& judged);

/// Slope and correlation of log |e| and log |t|.
[[nodiscard]] std::pair<double, double> log_log(const TokenTable& judged);

}  // namespace lorsa::experiments
