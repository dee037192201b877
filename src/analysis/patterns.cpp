#include "analysis/patterns.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>

namespace lorsa::analysis {
namespace {

// A softmax leaves a little weight everywhere: what is below a hundredth of the largest weight is
// summed instead of listed, and so is what a diffuse head has beyond kMostSources.
constexpr double kLeastShare = 0.01;
// Sources outside the window that are shown with their neighbours.
constexpr double kLeastOutsideShare = 0.05;
constexpr int64_t kNeighbours = 3;
// Of the patterns that are asked for at a time: 64 MiB.
constexpr int64_t kPatternValues = int64_t{1} << 24;

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

int64_t place_of(int64_t row, const std::vector<int64_t>& rows) {
  return std::lower_bound(rows.begin(), rows.end(), row) - rows.begin();
}

}  // namespace

void fill_context(HeadContext& context, const float* z_T, const int32_t* tokens_T, int64_t T) {
  const int64_t live = context.position + 1;
  const auto window = static_cast<int64_t>(context.activations.size());
  context.tokens.assign(tokens_T + context.first, tokens_T + context.first + window);
  context.next_token = live < T ? tokens_T[live] : -1;
  if (z_T == nullptr) {
    return;
  }

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
  // Contexts are kept in great numbers: none holds room for the sources of a whole row.
  context.pattern.shrink_to_fit();
  double rest = 0.0;
  for (int64_t j = 0; j < live; ++j) {
    rest += z_T[j];
  }
  for (const Source& source : context.pattern) {
    rest -= source.weight;
  }
  context.pattern_rest = static_cast<float>(rest);
  std::sort(context.pattern.begin(), context.pattern.end(),
            [](const Source& a, const Source& b) { return a.position < b.position; });
}

void fill_contexts(const model::Dictionary& dictionary,
                   const model::Reading& reading,
                   const data::Batch& batch,
                   const std::vector<HeadCollector::Fresh>& contexts) {
  const at::Tensor tokens = batch.tokens_BT.contiguous();
  const int64_t T = tokens.size(1);
  const auto fill = [&](HeadContext& context, const float* z_T) {
    const int64_t b = place_of(context.row, batch.rows);
    context.document = batch.document_B.const_data_ptr<int64_t>()[b];
    context.heldout = batch.heldout_B.const_data_ptr<bool>()[b];
    fill_context(context, z_T, tokens.const_data_ptr<int32_t>() + b * T, T);
  };
  std::vector<model::PatternQuery> queries;
  std::vector<HeadContext*> asked;
  const auto read_patterns = [&] {
    const at::Tensor z_nT =
        dictionary.z_patterns(reading, queries).to(at::kCPU, at::kFloat).contiguous();
    for (size_t i = 0; i < asked.size(); ++i) {
      fill(*asked[i], z_nT.const_data_ptr<float>() + static_cast<int64_t>(i) * T);
    }
    queries.clear();
    asked.clear();
  };
  const auto most = static_cast<size_t>(std::max<int64_t>(1, kPatternValues / T));
  for (const auto& [head, context] : contexts) {
    if (context->sample == "non_firing") {
      fill(*context, nullptr);
      continue;
    }
    queries.push_back({place_of(context->row, batch.rows), context->position, head});
    asked.push_back(context);
    if (queries.size() == most) {
      read_patterns();
    }
  }
  read_patterns();
}

}  // namespace lorsa::analysis
