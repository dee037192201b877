#include "lorsa/analysis/head_contexts.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>

#include "lorsa/core/error.h"
#include "lorsa/core/seed.h"

namespace lorsa::analysis {
namespace {

/// A later row is weaker than an earlier one of the same strength.
bool stronger(const HeadContext& a, const HeadContext& b) {
  const float strength_a = std::abs(a.value);
  const float strength_b = std::abs(b.value);
  return strength_a != strength_b ? strength_a > strength_b : a.row < b.row;
}

bool drawn_before(const HeadContext& a, const HeadContext& b) {
  return a.draw < b.draw;
}

/// A number for (place, head) that no other pair shares, as if drawn by chance.
uint64_t draw(uint64_t place_seed, int64_t head) {
  return mix64(place_seed + static_cast<uint64_t>(head) * 0x9E3779B97F4A7C15U);
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

ContextHeaps::ContextHeaps(int64_t num_heads, int64_t capacity, Before before)
    : capacity_(static_cast<size_t>(capacity)),
      before_(before),
      heaps_(static_cast<size_t>(num_heads)) {}

bool ContextHeaps::takes(int64_t head, const HeadContext& context) const {
  const std::vector<HeadContext>& heap = of_head(head);
  // The last in the order is on top: it is the next to go.
  return heap.size() < capacity_ || (capacity_ > 0 && before_(context, heap.front()));
}

void ContextHeaps::put(int64_t head, HeadContext context) {
  std::vector<HeadContext>& heap = of_head(head);
  if (heap.size() == capacity_) {
    std::pop_heap(heap.begin(), heap.end(), before_);
    heap.pop_back();
  }
  if (heap.size() == heap.capacity()) {
    heap.reserve(std::min(capacity_, 2 * heap.size() + 1));
  }
  heap.push_back(std::move(context));
  std::push_heap(heap.begin(), heap.end(), before_);
}

std::vector<HeadContext> ContextHeaps::take_sorted(int64_t head) {
  std::vector<HeadContext> taken;
  taken.swap(of_head(head));
  std::sort(taken.begin(), taken.end(), before_);
  return taken;
}

HeadCollector::HeadCollector(const CollectorOptions& options)
    : options_(options),
      usage_(static_cast<size_t>(options.num_heads)),
      histograms_(static_cast<size_t>(options.num_heads * ActivationBins::kCount)),
      top_(options.num_heads, options.num_contexts, stronger),
      candidates_(options.num_heads, options.num_quantiles * kCandidatesPerStratum, drawn_before),
      quiet_(options.num_heads, options.num_non_firing, drawn_before),
      row_entries_(static_cast<size_t>(options.num_heads)),
      is_fresh_(static_cast<size_t>(options.num_heads)) {}

void HeadCollector::add(const kernels::TopK& kept,
                        const at::Tensor& scored_BT,
                        const std::vector<int64_t>& rows) {
  const int64_t B = scored_BT.size(0);
  const int64_t T = scored_BT.size(1);
  const int64_t K = kept.head_PK.size(1);
  LORSA_CHECK(kept.head_PK.size(0) == B * T && kept.value_PK.sizes() == kept.head_PK.sizes() &&
                  static_cast<int64_t>(rows.size()) == B,
              ShapeError, "HeadCollector: kept {}, scored {} and {} rows do not belong together",
              kept.head_PK.sizes(), scored_BT.sizes(), rows.size());
  const at::Tensor head = kept.head_PK.to(at::kCPU).contiguous();
  const at::Tensor value = kept.value_PK.to(at::kCPU, at::kFloat).contiguous();
  const at::Tensor scored = scored_BT.to(at::kCPU, at::kBool).contiguous();
  for (int64_t b = 0; b < B; ++b) {
    add_row(head.const_data_ptr<int32_t>() + b * T * K, value.const_data_ptr<float>() + b * T * K,
            K, {rows[static_cast<size_t>(b)], T, scored.const_data_ptr<bool>() + b * T});
  }
}

void HeadCollector::add_row(const int32_t* head_TK,
                            const float* value_TK,
                            int64_t K,
                            const Row& row) {
  for (int64_t i = 0; i < row.T * K; ++i) {
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
    close_head(head, row);
  }
  if (options_.num_non_firing > 0) {
    draw_quiet_windows(row);
  }
  for (const int32_t head : row_heads_) {
    std::vector<Entry>& entries = row_entries_[static_cast<size_t>(head)];
    entries.clear();
    if (entries.capacity() > kKeptEntries) {
      entries.shrink_to_fit();
    }
  }
  row_heads_.clear();
  num_tokens_ += row.T;
  num_scored_tokens_ += std::count(row.scored_T, row.scored_T + row.T, true);
}

void HeadCollector::close_head(int64_t head, const Row& row) {
  HeadUsage& usage = usage_[static_cast<size_t>(head)];
  int64_t* histogram = histograms_.data() + head * ActivationBins::kCount;
  Entry peak{-1, 0.0F};
  for (const Entry& entry : row_entries_[static_cast<size_t>(head)]) {
    if (!row.scored_T[entry.position]) {
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
    if (options_.num_quantiles > 0) {
      draw_candidate(head, entry, row);
    }
  }
  HeadContext context;
  context.row = row.number;
  context.value = peak.value;
  if (peak.position >= 0 && top_.takes(head, context)) {
    keep(top_, head, std::move(context), peak.position, row.T);
  }
}

void HeadCollector::draw_candidate(int64_t head, const Entry& entry, const Row& row) {
  const auto place = static_cast<uint64_t>(row.number * row.T + entry.position);
  HeadContext context;
  context.draw = draw(mix64(stream_seed(options_.seed, "quantile") + place), head);
  if (candidates_.takes(head, context)) {
    context.sample = "quantile";
    context.row = row.number;
    context.value = entry.value;
    keep(candidates_, head, std::move(context), entry.position, row.T);
  }
}

void HeadCollector::draw_quiet_windows(const Row& row) {
  std::vector<int32_t> scored;
  for (int64_t t = 0; t < row.T; ++t) {
    if (row.scored_T[t]) {
      scored.push_back(static_cast<int32_t>(t));
    }
  }
  if (scored.empty()) {
    return;
  }
  const int64_t size = std::min(options_.window_tokens, row.T);
  const uint64_t row_seed =
      mix64(stream_seed(options_.seed, "non-firing") + static_cast<uint64_t>(row.number));
  HeadContext context;
  context.sample = "non_firing";
  context.row = row.number;
  for (int64_t head = 0; head < options_.num_heads; ++head) {
    context.draw = draw(row_seed, head);
    if (!quiet_.takes(head, context)) {
      continue;
    }
    // The draw decides between rows, its mix within the row.
    const int32_t position = scored[mix64(context.draw) % scored.size()];
    const int32_t first = window_start(position, size, row.T);
    const std::vector<Entry>& entries = row_entries_[static_cast<size_t>(head)];
    const bool acts = std::any_of(entries.begin(), entries.end(), [&](const Entry& entry) {
      return entry.position >= first && entry.position < first + size;
    });
    if (!acts) {
      keep(quiet_, head, context, position, row.T);
    }
  }
}

void HeadCollector::keep(
    ContextHeaps& heaps, int64_t head, HeadContext context, int32_t position, int64_t T) {
  const int64_t size = std::min(options_.window_tokens, T);
  context.position = position;
  context.first = window_start(position, size, T);
  context.activations.assign(static_cast<size_t>(size), 0.0F);
  for (const Entry& entry : row_entries_[static_cast<size_t>(head)]) {
    const int64_t offset = entry.position - context.first;
    if (offset >= 0 && offset < size) {
      context.activations[static_cast<size_t>(offset)] = entry.value;
    }
  }
  heaps.put(head, std::move(context));
  if (is_fresh_[static_cast<size_t>(head)] == 0) {
    is_fresh_[static_cast<size_t>(head)] = 1;
    fresh_heads_.push_back(static_cast<int32_t>(head));
  }
}

std::vector<HeadCollector::Fresh> HeadCollector::take_fresh() {
  std::vector<Fresh> fresh;
  for (const int32_t head : fresh_heads_) {
    is_fresh_[static_cast<size_t>(head)] = 0;
    for (ContextHeaps* heaps : {&top_, &candidates_, &quiet_}) {
      for (HeadContext& context : heaps->of_head(head)) {
        if (context.tokens.empty()) {
          fresh.push_back({head, &context});
        }
      }
    }
  }
  fresh_heads_.clear();
  return fresh;
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

std::vector<HeadContext> HeadCollector::take_contexts(int64_t head) {
  std::vector<HeadContext> contexts = top_.take_sorted(head);
  const auto append = [&](std::vector<HeadContext> more) {
    std::move(more.begin(), more.end(), std::back_inserter(contexts));
  };
  if (options_.num_quantiles > 0) {
    append(choose_strata(candidates_.take_sorted(head), histogram(head), options_.num_quantiles));
  }
  append(quiet_.take_sorted(head));
  return contexts;
}

}  // namespace lorsa::analysis
