#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "lorsa/kernels/attention.h"

namespace lorsa::kernels {

/// A kept head's gradient at one position, within one sequence and QK head.
template <typename Real>
struct KeptEntry {
  int32_t position;
  int32_t member;  // g in [0, G)
  Real gradient;
};

/// The entries of every (sequence, QK head) in ascending position; zero gradients dropped. A
/// counting sort, one sequence after another on a thread.
template <typename Real>
class KeptEntries {
 public:
  /// grad_PK, head_PK [B*T, K]; head h belongs to QK head h / G of S.
  KeptEntries(const at::Tensor& grad_PK, const at::Tensor& head_PK, int64_t B, int64_t S, int64_t G)
      : offset_(static_cast<size_t>(B * S + 1)) {
    const int64_t per_sequence = B > 0 ? grad_PK.numel() / B : 0;
    const int64_t kept = grad_PK.size(1);
    const Real* gradient = grad_PK.const_data_ptr<Real>();
    const int32_t* head = head_PK.const_data_ptr<int32_t>();
    const auto group = static_cast<int32_t>(G);
    at::parallel_for(0, B, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * per_sequence; i < end * per_sequence; ++i) {
        if (gradient[i] != Real(0)) {
          ++offset_[static_cast<size_t>(i / per_sequence * S + head[i] / group + 1)];
        }
      }
    });
    for (size_t unit = 1; unit < offset_.size(); ++unit) {
      offset_[unit] += offset_[unit - 1];
    }
    entries_.resize(static_cast<size_t>(offset_.back()));
    at::parallel_for(0, B, 1, [&](int64_t begin, int64_t end) {
      std::vector<int64_t> next(static_cast<size_t>(S));
      for (int64_t b = begin; b < end; ++b) {
        std::copy_n(offset_.begin() + b * S, S, next.begin());
        for (int64_t i = 0; i < per_sequence; ++i) {
          const int64_t entry = b * per_sequence + i;
          if (gradient[entry] != Real(0)) {
            const int32_t s = head[entry] / group;
            const int64_t slot = next[static_cast<size_t>(s)]++;
            entries_[static_cast<size_t>(slot)] = {static_cast<int32_t>(i / kept),
                                                   head[entry] - s * group, gradient[entry]};
          }
        }
      }
    });
  }

  /// Where an attention backward pass over these entries of B sequences of T positions leaves
  /// gradients.
  [[nodiscard]] GradientSupport support(int64_t B, int64_t T, int64_t S, int64_t G) const {
    GradientSupport out;
    out.q.offset = out.k.offset = {0};
    out.v_length_BH.assign(static_cast<size_t>(B * S * G), 0);
    for (int64_t s = 0; s < S; ++s) {
      for (int64_t b = 0; b < B; ++b) {
        const std::span<const KeptEntry<Real>> entries = of(b * S + s);
        for (const KeptEntry<Real>& entry : entries) {
          add(out.q, b * T + entry.position, s);
          out.v_length_BH[static_cast<size_t>((b * S + s) * G + entry.member)] = entry.position + 1;
        }
        if (!entries.empty()) {
          out.k.run.push_back({b * T, b * T + entries.back().position + 1});
        }
      }
      out.q.offset.push_back(std::ssize(out.q.run));
      out.k.offset.push_back(std::ssize(out.k.run));
    }
    return out;
  }

  /// Those of unit b * S + s.
  [[nodiscard]] std::span<const KeptEntry<Real>> of(int64_t unit) const {
    const auto begin = static_cast<size_t>(offset_[static_cast<size_t>(unit)]);
    const auto end = static_cast<size_t>(offset_[static_cast<size_t>(unit) + 1]);
    return std::span(entries_).subspan(begin, end - begin);
  }

 private:
  /// Positions of a head arrive in ascending order, some more than once.
  static void add(PositionRuns& runs, int64_t position, int64_t s) {
    const bool first = std::ssize(runs.run) == runs.offset[static_cast<size_t>(s)];
    if (first || runs.run.back().end < position) {
      runs.run.push_back({position, position + 1});
    } else {
      runs.run.back().end = position + 1;
    }
  }

  std::vector<int64_t> offset_;
  std::vector<KeptEntry<Real>> entries_;
};

}  // namespace lorsa::kernels
