#include "analysis/index_columns.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lorsa::analysis {
namespace {

constexpr const char* kExplorerSchema = "lorsa-explorer-1";
constexpr double kNoScore = std::numeric_limits<double>::quiet_NaN();

void append_key(std::string& out, const char* key) {
  out += ",\n\"";
  out += key;
  out += "\":";
}

template <typename Integers>
void append_integers(std::string& out, const char* key, const Integers& values) {
  append_key(out, key);
  append_list(out, values, [&](auto value) { append_integer(out, value); });
}

}  // namespace

int32_t IndexColumns::place(int32_t token, TokenTexts& texts) {
  if (token < 0) {
    return -1;
  }
  const auto [entry, is_new] = places_.try_emplace(token, static_cast<int32_t>(texts_.size()));
  if (is_new) {
    texts_.push_back(texts.quoted(token));
  }
  return entry->second;
}

void IndexColumns::add_scores(const HeadRecord& record) {
  for (const auto& [family, score] : record.family_scores) {
    score_.try_emplace(family, static_cast<size_t>(num_heads_), kNoScore);
  }
  for (auto& [family, scores] : score_) {
    const auto found = record.family_scores.find(family);
    scores.push_back(found == record.family_scores.end() ? kNoScore : found->second);
  }
}

void IndexColumns::add(const HeadRecord& record, TokenTexts& texts) {
  qk_head_.push_back(record.qk_head);
  count_.push_back(record.usage.count);
  max_.push_back(record.usage.max);
  for (size_t i = 0; i < kIndexTokens; ++i) {
    const bool there = i < record.effect.top.size();
    top_tokens_.push_back(place(there ? record.effect.top[i].token : -1, texts));
  }
  peak_token_.push_back(place(peak_token(record), texts));
  source_token_.push_back(place(source_token(record), texts));
  layer_.push_back(record.layer.value_or(-1));
  add_scores(record);
  ++num_heads_;
}

std::string IndexColumns::script(const io::Json& summary) const {
  io::Json head = summary;
  head["explorer_schema"] = kExplorerSchema;
  head["num_heads"] = num_heads_;
  head["top_tokens_per_head"] = kIndexTokens;
  std::string out = "lorsaIndex(" + head.dump(-1, ' ', false, io::Json::error_handler_t::replace);
  out.pop_back();  // the object goes on
  append_key(out, "tokens");
  append_list(out, texts_, [&](const std::string& quoted) { out += quoted; });
  append_integers(out, "qk_head", qk_head_);
  append_integers(out, "count", count_);
  append_key(out, "max");
  append_list(out, max_, [&](double value) { append_number(out, value); });
  append_integers(out, "top_tokens", top_tokens_);
  append_integers(out, "peak_token", peak_token_);
  append_integers(out, "source_token", source_token_);
  // In a dump of one layer the index says which.
  const auto differs = [&](int64_t layer) { return layer != layer_.front(); };
  if (std::any_of(layer_.begin(), layer_.end(), differs)) {
    append_integers(out, "layer", layer_);
  }
  append_key(out, "family_scores");
  out += '{';
  for (const auto& [family, scores] : score_) {
    out += (out.back() == '{' ? "" : ",\n") + json_string(family) + ":";
    append_list(out, scores, [&](double score) {
      if (std::isnan(score)) {
        out += "null";
      } else {
        append_number(out, score);
      }
    });
  }
  return out + "}});\n";
}

}  // namespace lorsa::analysis
