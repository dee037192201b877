#include "analysis/head_record.h"

#include <algorithm>
#include <cmath>

namespace lorsa::analysis {
namespace {

class RecordWriter {
 public:
  explicit RecordWriter(TokenTexts& texts) : texts_(texts) { out_.reserve(1 << 15); }

  std::string write(const HeadRecord& record) {
    open("{\"head\":", record.head);
    open(",\"qk_head\":", record.qk_head);
    if (record.layer) {
      open(",\"layer\":", *record.layer);
    }
    open(",\"count\":", record.usage.count);
    number(",\"rate\":", record.rate);
    number(",\"max\":", record.usage.max);
    number(",\"mean\":", record.usage.count == 0
                             ? 0.0
                             : record.usage.sum / static_cast<double>(record.usage.count));
    histogram(record.histogram);
    out_ += ",\"logit_effect\":{\"top\":";
    effects(record.effect.top);
    out_ += ",\"bottom\":";
    effects(record.effect.bottom);
    out_ += '}';
    optional_fields(record);
    out_ += ",\"contexts\":";
    append_list(out_, record.contexts, [&](const HeadContext& c) { context(c); });
    out_ += '}';
    return std::move(out_);
  }

 private:
  void open(std::string_view key, int64_t value) {
    out_ += key;
    append_integer(out_, value);
  }

  void number(std::string_view key, double value) {
    out_ += key;
    append_number(out_, value);
  }

  void tokens(const std::vector<int32_t>& ids) {
    append_list(out_, ids, [&](int32_t id) { out_ += texts_.quoted(id); });
  }

  /// Empty bins on both sides are left out.
  void histogram(const std::vector<int64_t>& counts) {
    const auto used = [](int64_t count) { return count > 0; };
    const auto first = std::find_if(counts.begin(), counts.end(), used);
    const auto last = std::find_if(counts.rbegin(), counts.rend(), used).base();
    const bool empty = first == counts.end();
    open(",\"histogram\":{\"first_bin\":", empty ? 0 : first - counts.begin());
    out_ += ",\"counts\":";
    append_list(out_, empty ? std::vector<int64_t>() : std::vector<int64_t>(first, last),
                [&](int64_t count) { append_integer(out_, count); });
    out_ += '}';
  }

  void effects(const std::vector<TokenEffect>& list) {
    append_list(out_, list, [&](const TokenEffect& effect) {
      open("[", effect.token);
      out_ += ',';
      out_ += texts_.quoted(effect.token);
      number(",", static_cast<double>(effect.value));
      out_ += ']';
    });
  }

  void optional_fields(const HeadRecord& record) {
    if (!record.family_scores.empty()) {
      out_ += ",\"family_scores\":";
      char before = '{';
      for (const auto& [family, score] : record.family_scores) {
        out_ += before + json_string(family);
        number(":", score);
        before = ',';
      }
      out_ += '}';
    }
    if (!record.mhsa_overlap.empty()) {
      out_ += ",\"mhsa_overlap\":";
      append_list(out_, record.mhsa_overlap, [&](const MhsaShare& overlap) {
        open("[", overlap.head);
        number(",", overlap.share);
        out_ += ']';
      });
    }
  }

  void context(const HeadContext& c) {
    out_ += "{\"sample\":" + json_string(c.sample);
    if (c.quantile) {
      number(",\"quantile\":", static_cast<double>(*c.quantile));
    }
    open(",\"row\":", c.row);
    open(",\"document\":", c.document);
    out_ += c.heldout ? ",\"heldout\":true" : ",\"heldout\":false";
    open(",\"position\":", c.position);
    number(",\"value\":", static_cast<double>(c.value));
    open(",\"first\":", c.first);
    out_ += ",\"tokens\":";
    tokens(c.tokens);
    out_ += ",\"activations\":";
    append_list(out_, c.activations, [&](float a) { append_number(out_, static_cast<double>(a)); });
    out_ += ",\"z_pattern\":";
    append_list(out_, c.pattern, [&](const Source& source) {
      open("[", source.position);
      number(",", static_cast<double>(source.weight));
      out_ += ']';
    });
    number(",\"z_rest\":", static_cast<double>(c.pattern_rest));
    out_ += ",\"outside\":";
    append_list(out_, c.outside, [&](const SourceSnippet& snippet) {
      open("{\"position\":", snippet.source.position);
      number(",\"weight\":", static_cast<double>(snippet.source.weight));
      open(",\"first\":", snippet.first);
      out_ += ",\"tokens\":";
      tokens(snippet.tokens);
      out_ += '}';
    });
    out_ += ",\"next_token\":";
    out_ += c.next_token < 0 ? "null" : texts_.quoted(c.next_token);
    out_ += '}';
  }

  TokenTexts& texts_;
  std::string out_;
};

/// True if the first context is the head's strongest: a head that never acts has but non-firing
/// ones.
bool has_top(const HeadRecord& record) {
  return !record.contexts.empty() && record.contexts.front().sample == "top";
}

}  // namespace

std::string record_line(const HeadRecord& record, TokenTexts& texts) {
  return RecordWriter(texts).write(record);
}

int32_t peak_token(const HeadRecord& record) {
  if (!has_top(record)) {
    return -1;
  }
  const HeadContext& c = record.contexts.front();
  return c.tokens[static_cast<size_t>(c.position - c.first)];
}

int32_t source_token(const HeadRecord& record) {
  if (!has_top(record) || record.contexts.front().pattern.empty()) {
    return -1;
  }
  const HeadContext& c = record.contexts.front();
  const Source& heaviest = *std::max_element(
      c.pattern.begin(), c.pattern.end(),
      [](const Source& a, const Source& b) { return std::abs(a.weight) < std::abs(b.weight); });
  if (heaviest.position >= c.first) {
    return c.tokens[static_cast<size_t>(heaviest.position - c.first)];
  }
  const SourceSnippet& snippet = c.outside.front();
  return snippet.tokens[static_cast<size_t>(heaviest.position - snippet.first)];
}

io::Json index_entry(const HeadRecord& record, const TokenTexts& texts) {
  const auto text = [&](int32_t token) { return token < 0 ? std::string() : texts.text(token); };
  io::Json entry;
  entry["head"] = record.head;
  entry["qk_head"] = record.qk_head;
  entry["count"] = record.usage.count;
  entry["rate"] = record.rate;
  entry["max"] = record.usage.max;
  io::Json top = io::Json::array();
  for (size_t i = 0; i < std::min(kIndexTokens, record.effect.top.size()); ++i) {
    top.push_back(text(record.effect.top[i].token));
  }
  entry["top_tokens"] = std::move(top);
  if (has_top(record)) {
    entry["peak_token"] = text(peak_token(record));
    entry["source_token"] = text(source_token(record));
  }
  if (record.layer) {
    entry["layer"] = *record.layer;
  }
  if (!record.family_scores.empty()) {
    entry["family_scores"] = record.family_scores;
  }
  return entry;
}

}  // namespace lorsa::analysis
