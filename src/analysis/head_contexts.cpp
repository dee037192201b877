#include "lorsa/analysis/head_contexts.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>

#include "lorsa/core/error.h"

namespace lorsa::analysis {
namespace {

/// Heap order with the weakest context on top: it is the next to go. A later row is weaker than an
/// earlier one of the same strength.
bool stronger(const HeadContext& a, const HeadContext& b) {
  const float strength_a = std::abs(a.value);
  const float strength_b = std::abs(b.value);
  return strength_a != strength_b ? strength_a > strength_b : a.row < b.row;
}

}  // namespace

int ActivationBins::index(double activation) {
  const double bin = std::floor((std::log2(activation) - kLowestExponent) * kPerOctave);
  return static_cast<int>(std::clamp(bin, 0.0, static_cast<double>(kCount - 1)));
}

double ActivationBins::edge(int bin) {
  return std::exp2(kLowestExponent + static_cast<double>(bin) / kPerOctave);
}

int32_t window_start(int32_t peak, int64_t size, int64_t length) {
  const int64_t after = size / 4;
  const int64_t wanted = peak + after + 1 - size;
  return static_cast<int32_t>(std::clamp<int64_t>(wanted, 0, std::max<int64_t>(0, length - size)));
}

HeadCollector::HeadCollector(const CollectorOptions& options)
    : options_(options),
      usage_(static_cast<size_t>(options.num_heads)),
      histograms_(static_cast<size_t>(options.num_heads * ActivationBins::kCount)),
      contexts_(static_cast<size_t>(options.num_heads)),
      row_entries_(static_cast<size_t>(options.num_heads)) {}

void HeadCollector::add(const kernels::TopK& kept,
                        const at::Tensor& scored_BT,
                        const std::vector<int64_t>& rows) {
  const int64_t B = scored_BT.size(0);
  const int64_t T = scored_BT.size(1);
  const int64_t K = kept.head_PK.size(1);
  LORSA_CHECK(kept.head_PK.size(0) == B * T && kept.value_PK.sizes() == kept.head_PK.sizes() &&
                  static_cast<int64_t>(rows.size()) == B,
              ShapeError,
              "HeadCollector: kept ",
              kept.head_PK.sizes(),
              ", scored ",
              scored_BT.sizes(),
              " and ",
              rows.size(),
              " rows do not belong together");
  const at::Tensor head = kept.head_PK.to(at::kCPU).contiguous();
  const at::Tensor value = kept.value_PK.to(at::kCPU, at::kFloat).contiguous();
  const at::Tensor scored = scored_BT.to(at::kCPU, at::kBool).contiguous();
  for (int64_t b = 0; b < B; ++b) {
    add_row(head.const_data_ptr<int32_t>() + b * T * K,
            value.const_data_ptr<float>() + b * T * K,
            scored.const_data_ptr<bool>() + b * T,
            T,
            K,
            rows[static_cast<size_t>(b)]);
  }
}

void HeadCollector::add_row(const int32_t* head_TK,
                            const float* value_TK,
                            const bool* scored_T,
                            int64_t T,
                            int64_t K,
                            int64_t row) {
  for (int64_t i = 0; i < T * K; ++i) {
    if (value_TK[i] == 0.0F) {
      continue;
    }
    std::vector<Entry>& entries = row_entries_[static_cast<size_t>(head_TK[i])];
    if (entries.empty()) {
      row_heads_.push_back(head_TK[i]);
    }
    entries.push_back({static_cast<int32_t>(i / K), value_TK[i]});
  }
  for (const int32_t head : row_heads_) {
    close_head(head, scored_T, T, row);
    row_entries_[static_cast<size_t>(head)].clear();
  }
  row_heads_.clear();
  num_tokens_ += T;
  num_scored_tokens_ += std::count(scored_T, scored_T + T, true);
}

void HeadCollector::close_head(int64_t head, const bool* scored_T, int64_t T, int64_t row) {
  HeadUsage& usage = usage_[static_cast<size_t>(head)];
  int64_t* histogram = histograms_.data() + head * ActivationBins::kCount;
  Entry peak{-1, 0.0F};
  for (const Entry& entry : row_entries_[static_cast<size_t>(head)]) {
    if (!scored_T[entry.position]) {
      continue;
    }
    const double strength = std::abs(entry.value);
    ++usage.count;
    usage.sum += strength;
    usage.max = std::max(usage.max, strength);
    ++histogram[ActivationBins::index(strength)];
    if (std::abs(entry.value) > std::abs(peak.value)) {
      peak = entry;
    }
  }
  if (peak.position >= 0 && options_.num_contexts > 0) {
    keep_context(head, peak, T, row);
  }
}

void HeadCollector::keep_context(int64_t head, const Entry& peak, int64_t T, int64_t row) {
  std::vector<HeadContext>& heap = contexts_[static_cast<size_t>(head)];
  HeadContext context;
  context.row = row;
  context.value = peak.value;
  if (static_cast<int64_t>(heap.size()) == options_.num_contexts) {
    if (!stronger(context, heap.front())) {
      return;
    }
    std::pop_heap(heap.begin(), heap.end(), stronger);
    heap.pop_back();
  }
  const int64_t size = std::min(options_.window_tokens, T);
  context.position = peak.position;
  context.first = window_start(peak.position, size, T);
  context.activations.assign(static_cast<size_t>(size), 0.0F);
  for (const Entry& entry : row_entries_[static_cast<size_t>(head)]) {
    const int64_t offset = entry.position - context.first;
    if (offset >= 0 && offset < size) {
      context.activations[static_cast<size_t>(offset)] = entry.value;
    }
  }
  heap.push_back(std::move(context));
  std::push_heap(heap.begin(), heap.end(), stronger);
}

std::vector<int64_t> HeadCollector::histogram(int64_t head) const {
  const auto begin = histograms_.begin() + head * ActivationBins::kCount;
  return {begin, begin + ActivationBins::kCount};
}

double HeadCollector::rate(int64_t head) const {
  return num_scored_tokens_ == 0
             ? 0.0
             : static_cast<double>(usage(head).count) / static_cast<double>(num_scored_tokens_);
}

std::vector<std::vector<HeadContext>> HeadCollector::take_contexts() {
  for (std::vector<HeadContext>& heap : contexts_) {
    std::sort(heap.begin(), heap.end(), stronger);
  }
  std::vector<std::vector<HeadContext>> taken(contexts_.size());
  taken.swap(contexts_);
  return taken;
}

}  // namespace lorsa::analysis
