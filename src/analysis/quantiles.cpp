#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "lorsa/analysis/head_contexts.h"

namespace lorsa::analysis {
namespace {

float size_of(const HeadContext& context) {
  return std::abs(context.value);
}

size_t bin_of(const HeadContext& context) {
  return static_cast<size_t>(ActivationBins::index(static_cast<double>(size_of(context))));
}

}  // namespace

std::vector<HeadContext> choose_strata(std::vector<HeadContext> candidates,
                                       const std::vector<int64_t>& histogram,
                                       int64_t num_strata) {
  // Equal activations are told apart by their draw, so that they share out among strata.
  std::sort(candidates.begin(), candidates.end(), [](const HeadContext& a, const HeadContext& b) {
    return size_of(a) != size_of(b) ? size_of(a) < size_of(b) : a.draw < b.draw;
  });
  double total = 0.0;
  for (const int64_t count : histogram) {
    total += static_cast<double>(count);
  }
  std::vector<std::optional<HeadContext>> chosen(static_cast<size_t>(num_strata));
  double lower = 0.0;  // activations in lower bins
  size_t bin = 0;
  for (size_t begin = 0; begin < candidates.size();) {
    for (; bin < bin_of(candidates[begin]); ++bin) {
      lower += static_cast<double>(histogram[bin]);
    }
    size_t end = begin;
    while (end < candidates.size() && bin_of(candidates[end]) == bin) {
      ++end;
    }
    // The rank that the i-th smallest of n of the bin's activations has among all of them, on
    // average over samples.
    const auto rank = [&, n = end - begin](size_t i) {
      const auto in_bin = static_cast<double>(histogram[bin]);
      return static_cast<double>(i - begin + 1) * (in_bin + 1.0) / static_cast<double>(n + 1) - 1.0;
    };
    const auto share = [&](size_t i) { return (lower + rank(i)) / total; };
    size_t smaller = begin;
    for (size_t i = begin; i < end; ++i) {
      if (size_of(candidates[i]) != size_of(candidates[smaller])) {
        smaller = i;
      }
      HeadContext& candidate = candidates[i];
      candidate.quantile = static_cast<float>(share(smaller));
      // 1e-9: a rank that lies on a border to rounding belongs to the upper stratum.
      const auto stratum = static_cast<int64_t>(share(i) * static_cast<double>(num_strata) + 1e-9);
      auto& place = chosen[static_cast<size_t>(std::min(stratum, num_strata - 1))];
      if (!place || candidate.draw < place->draw) {
        place = std::move(candidate);
      }
    }
    begin = end;
  }
  std::vector<HeadContext> out;
  std::reverse(chosen.begin(), chosen.end());
  for (std::optional<HeadContext>& place : chosen) {
    if (place) {
      out.push_back(std::move(*place));
    }
  }
  return out;
}

}  // namespace lorsa::analysis
