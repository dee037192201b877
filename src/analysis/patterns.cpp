#include "analysis/patterns.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <tuple>

namespace lorsa::analysis {
namespace {

// A softmax leaves a little weight everywhere: what is below a hundredth of the largest weight is
// summed instead of listed, and so is what a diffuse head has beyond kMostSources.
constexpr double kLeastShare = 0.01;
// Sources outside the window that are shown with their neighbours.
constexpr double kLeastOutsideShare = 0.05;
constexpr int64_t kNeighbours = 3;

bool weightier(const Source& a, const Source& b) {
  const float weight_a = std::abs(a.weight);
  const float weight_b = std::abs(b.weight);
  return weight_a != weight_b ? weight_a > weight_b : a.position < b.position;
}

/// Sources of at least `share` of the largest weight, weightiest first.
std::vector<Source> weighty_sources(const float* z_T, int64_t live, double share) {
  float largest = 0.0F;
  for (int64_t j = 0; j < live; ++j) {
    largest = std::max(largest, std::abs(z_T[j]));
  }
  std::vector<Source> sources;
  for (int64_t j = 0; j < live; ++j) {
    if (z_T[j] != 0.0F && std::abs(z_T[j]) >= share * largest) {
      sources.push_back({static_cast<int32_t>(j), z_T[j]});
    }
  }
  std::sort(sources.begin(), sources.end(), weightier);
  return sources;
}

SourceSnippet snippet(const Source& source, const int32_t* tokens_T, int64_t T) {
  SourceSnippet out;
  out.source = source;
  out.first = static_cast<int32_t>(std::max<int64_t>(0, source.position - kNeighbours));
  const int64_t end = std::min<int64_t>(T, source.position + kNeighbours + 1);
  out.tokens.assign(tokens_T + out.first, tokens_T + end);
  return out;
}

/// A context to be filled.
struct Place {
  int64_t row;
  int64_t head;
  size_t index;  // among the head's contexts
};

std::vector<Place> places_by_row(const std::vector<std::vector<HeadContext>>& contexts) {
  std::vector<Place> places;
  for (size_t head = 0; head < contexts.size(); ++head) {
    for (size_t i = 0; i < contexts[head].size(); ++i) {
      places.push_back({contexts[head][i].row, static_cast<int64_t>(head), i});
    }
  }
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    return std::tie(a.row, a.head, a.index) < std::tie(b.row, b.head, b.index);
  });
  return places;
}

/// The next `batch_rows` rows with places; `end` is moved behind their last place.
std::vector<int64_t> next_rows(const std::vector<Place>& places, int64_t batch_rows, size_t& end) {
  std::vector<int64_t> rows;
  for (; end < places.size(); ++end) {
    if (rows.empty() || rows.back() != places[end].row) {
      if (static_cast<int64_t>(rows.size()) == batch_rows) {
        break;
      }
      rows.push_back(places[end].row);
    }
  }
  return rows;
}

}  // namespace

void fill_context(HeadContext& context, const float* z_T, const int32_t* tokens_T, int64_t T) {
  const int64_t live = context.position + 1;
  const auto window = static_cast<int64_t>(context.activations.size());
  context.tokens.assign(tokens_T + context.first, tokens_T + context.first + window);
  context.next_token = live < T ? tokens_T[live] : -1;

  context.pattern = weighty_sources(z_T, live, kLeastShare);
  context.outside.clear();
  for (const Source& source : context.pattern) {
    const bool inside = source.position >= context.first;
    const bool heavy =
        std::abs(source.weight) >= kLeastOutsideShare * std::abs(context.pattern.front().weight);
    if (!inside && heavy && static_cast<int64_t>(context.outside.size()) < kMostOutside) {
      context.outside.push_back(snippet(source, tokens_T, T));
    }
  }
  if (static_cast<int64_t>(context.pattern.size()) > kMostSources) {
    context.pattern.resize(kMostSources);
  }
  double rest = 0.0;
  for (int64_t j = 0; j < live; ++j) {
    rest += z_T[j];
  }
  for (const Source& source : context.pattern) {
    rest -= source.weight;
  }
  context.pattern_rest = static_cast<float>(rest);
  std::sort(context.pattern.begin(), context.pattern.end(), [](const Source& a, const Source& b) {
    return a.position < b.position;
  });
}

void read_patterns(const model::Lorsa& lorsa,
                   const data::CacheReader& cache,
                   int64_t batch_rows,
                   std::vector<std::vector<HeadContext>>& contexts,
                   const std::function<void(int64_t)>& on_contexts) {
  const c10::Device device = lorsa.weights().W_V.device();
  const std::vector<Place> places = places_by_row(contexts);
  size_t end = 0;
  while (end < places.size()) {
    const size_t begin = end;
    const std::vector<int64_t> rows = next_rows(places, batch_rows, end);
    const data::Batch batch = cache.read(rows);
    const int64_t T = batch.tokens_BT.size(1);

    std::vector<model::PatternQuery> queries;
    int64_t b = 0;
    for (size_t i = begin; i < end; ++i) {
      const Place& place = places[i];
      b += rows[static_cast<size_t>(b)] != place.row ? 1 : 0;
      const HeadContext& context = contexts[static_cast<size_t>(place.head)][place.index];
      queries.push_back({b, context.position, place.head});
    }
    const at::Tensor& x_BTD = lorsa.shape().reads_target() ? batch.target_BTD : batch.input_BTD;
    const at::Tensor z_qT =
        lorsa.z_patterns(x_BTD.to(device, at::kFloat), queries).to(at::kCPU).contiguous();
    const at::Tensor tokens = batch.tokens_BT.contiguous();
    for (size_t i = begin; i < end; ++i) {
      HeadContext& context = contexts[static_cast<size_t>(places[i].head)][places[i].index];
      const int64_t row = queries[i - begin].row;
      context.document = batch.document_B.const_data_ptr<int64_t>()[row];
      context.heldout = batch.heldout_B.const_data_ptr<bool>()[row];
      fill_context(context,
                   z_qT.const_data_ptr<float>() + static_cast<int64_t>(i - begin) * T,
                   tokens.const_data_ptr<int32_t>() + row * T,
                   T);
    }
    on_contexts(static_cast<int64_t>(end));
  }
}

}  // namespace lorsa::analysis
