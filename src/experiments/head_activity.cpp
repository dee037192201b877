#include "experiments/head_activity.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace lorsa::experiments {

HeadActivity::HeadActivity(int64_t num_heads) : num_heads_(num_heads) {}

void HeadActivity::add(const at::Tensor& value_PK,
                       const at::Tensor& head_PK,
                       const at::Tensor& scored_P) {
  const at::Tensor value = value_PK.to(at::kFloat).contiguous();
  const at::Tensor head = head_PK.contiguous();
  const at::Tensor scored = scored_P.contiguous();
  const int64_t K = value.size(1);
  for (int64_t p = 0; p < value.size(0); ++p) {
    if (!scored.data_ptr<bool>()[p]) {
      continue;
    }
    for (int64_t k = p * K; k < (p + 1) * K; ++k) {
      if (value.data_ptr<float>()[k] != 0.0f) {
        head_.push_back(head.data_ptr<int32_t>()[k]);
        value_.push_back(value.data_ptr<float>()[k]);
      }
    }
    first_entry_.push_back(head_.size());
  }
}

void HeadActivity::finish() {
  sort_by_head();
  sum_up();
}

void HeadActivity::sort_by_head() {
  const auto H = static_cast<size_t>(num_heads_);
  first_use_.assign(H + 1, 0);
  for (const int32_t head : head_) {
    ++first_use_[static_cast<size_t>(head) + 1];
  }
  for (size_t h = 0; h < H; ++h) {
    first_use_[h + 1] += first_use_[h];
  }
  uses_.resize(head_.size());
  std::vector<size_t> next(first_use_.begin(), first_use_.end() - 1);
  for (size_t p = 0; p + 1 < first_entry_.size(); ++p) {
    for (size_t i = first_entry_[p]; i < first_entry_[p + 1]; ++i) {
      uses_[next[static_cast<size_t>(head_[i])]++] = {static_cast<int32_t>(p), value_[i]};
    }
  }
}

void HeadActivity::sum_up() {
  const auto H = static_cast<size_t>(num_heads_);
  const auto n = static_cast<double>(num_tokens());
  sum_H_.assign(H, 0.0);
  deviation_H_.assign(H, 0.0);
  rank_H_.assign(H, -1);
  for (size_t h = 0; h < H; ++h) {
    const size_t begin = first_use_[h], end = first_use_[h + 1];
    if (begin == end) {
      continue;
    }
    rank_H_[h] = static_cast<int64_t>(acting_.size());
    acting_.push_back(static_cast<int64_t>(h));
    for (size_t i = begin; i < end; ++i) {
      sum_H_[h] += static_cast<double>(uses_[i].value);
    }
    const double mean = sum_H_[h] / n;
    // The tokens where it does not act lie |mean| away each.
    double squares = (n - static_cast<double>(end - begin)) * mean * mean;
    for (size_t i = begin; i < end; ++i) {
      const double from_mean = static_cast<double>(uses_[i].value) - mean;
      squares += from_mean * from_mean;
    }
    // Below float32's resolution of the values it is rounding.
    const double noise = std::abs(mean) * std::sqrt(n) * 1e-7;
    deviation_H_[h] = std::sqrt(squares) > noise ? std::sqrt(squares) : 0.0;
  }
}

void HeadActivity::correlations(const HeadActivity& other,
                                int64_t head,
                                std::vector<double>& result) const {
  result.assign(acting_.size(), 0.0);
  const auto h = static_cast<size_t>(head);
  for (size_t i = other.first_use_[h]; i < other.first_use_[h + 1]; ++i) {
    const auto p = static_cast<size_t>(other.uses_[i].token);
    const auto value = static_cast<double>(other.uses_[i].value);
    for (size_t j = first_entry_[p]; j < first_entry_[p + 1]; ++j) {
      const auto rank = rank_H_[static_cast<size_t>(head_[j])];
      result[static_cast<size_t>(rank)] += value * static_cast<double>(value_[j]);
    }
  }
  const auto n = static_cast<double>(num_tokens());
  for (size_t g = 0; g < acting_.size(); ++g) {
    const auto own = static_cast<size_t>(acting_[g]);
    const double scale = other.deviation_H_[h] * deviation_H_[own];
    const double covariance = result[g] - other.sum_H_[h] * sum_H_[own] / n;
    result[g] = scale > 0.0 ? std::clamp(covariance / scale, -1.0, 1.0) : 0.0;
  }
}

}  // namespace lorsa::experiments
