#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace lorsa::experiments {

/// Which heads act at which scored tokens, and how strongly: the few entries that are not zero.
///
/// add() batch by batch, finish() once, then the rest.
class HeadActivity {
 public:
  explicit HeadActivity(int64_t num_heads);

  /// value_PK of a float dtype, head_PK int32, scored_P bool, on the CPU. Entries of value 0 count
  /// as not acting.
  void add(const at::Tensor& value_PK, const at::Tensor& head_PK, const at::Tensor& scored_P);

  void finish();

  [[nodiscard]] int64_t num_tokens() const { return static_cast<int64_t>(first_entry_.size()) - 1; }

  /// Heads that act at some token, ascending.
  [[nodiscard]] const std::vector<int64_t>& acting() const { return acting_; }

  /// Pearson's correlation over all tokens of `head` of `other`, which saw the same tokens, with
  /// every acting head of this one, in their order. 0 with a head that does not vary.
  ///
  /// Products are made where both act alone: for all heads together as much work as tokens times
  /// K^2, where dense matrices would take tokens times H^2.
  void correlations(const HeadActivity& other, int64_t head, std::vector<double>& result) const;

 private:
  struct Use {
    int32_t token = 0;
    float value = 0.0f;
  };

  void sort_by_head();
  void sum_up();

  int64_t num_heads_;
  // By token: its entries are [first_entry_[p], first_entry_[p + 1]).
  std::vector<size_t> first_entry_ = {0};
  std::vector<int32_t> head_;
  std::vector<float> value_;
  // By head, likewise.
  std::vector<size_t> first_use_;
  std::vector<Use> uses_;
  std::vector<double> sum_H_;
  std::vector<double> deviation_H_;  // root of the sum of squares about the mean
  std::vector<int64_t> acting_;
  std::vector<int64_t> rank_H_;  // in acting_
};

}  // namespace lorsa::experiments
