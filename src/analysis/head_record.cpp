#include "analysis/head_record.h"

#include <algorithm>
#include <cmath>

namespace lorsa::analysis {
namespace {

// Tokens of the logit effect that the index carries for lists and search.
constexpr size_t kIndexTokens = 5;

class RecordWriter {
 public:
  explicit RecordWriter(TokenTexts& texts) : texts_(texts) { out_.reserve(1 << 15); }

  std::string write(const HeadRecord& record) {
    open("{\"head\":", record.head);
    open(",\"qk_head\":", record.qk_head);
    open(",\"count\":", record.usage.count);
    number(",\"rate\":", record.rate);
    number(",\"max\":", record.usage.max);
    number(
        ",\"mean\":",
        record.usage.count == 0 ? 0.0 : record.usage.sum / static_cast<double>(record.usage.count));
    histogram(record.histogram);
    out_ += ",\"logit_effect\":{\"top\":";
    effects(record.effect.top);
    out_ += ",\"bottom\":";
    effects(record.effect.bottom);
    out_ += "},\"contexts\":";
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
    append_list(out_,
                empty ? std::vector<int64_t>() : std::vector<int64_t>(first, last),
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

  void context(const HeadContext& c) {
    out_ += "{\"sample\":" + json_string(c.sample);
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

/// The weightiest source of a context, as text; empty if it is not at hand.
std::string source_text(const HeadContext& c, const TokenTexts& texts) {
  const auto heaviest =
      std::max_element(c.pattern.begin(), c.pattern.end(), [](const Source& a, const Source& b) {
        return std::abs(a.weight) < std::abs(b.weight);
      });
  if (heaviest == c.pattern.end()) {
    return {};
  }
  if (heaviest->position >= c.first) {
    return texts.text(c.tokens[static_cast<size_t>(heaviest->position - c.first)]);
  }
  const SourceSnippet& snippet = c.outside.front();
  return texts.text(snippet.tokens[static_cast<size_t>(heaviest->position - snippet.first)]);
}

}  // namespace

std::string record_line(const HeadRecord& record, TokenTexts& texts) {
  return RecordWriter(texts).write(record);
}

io::Json index_entry(const HeadRecord& record, const TokenTexts& texts) {
  io::Json entry;
  entry["head"] = record.head;
  entry["qk_head"] = record.qk_head;
  entry["count"] = record.usage.count;
  entry["rate"] = record.rate;
  entry["max"] = record.usage.max;
  io::Json top = io::Json::array();
  for (size_t i = 0; i < std::min(kIndexTokens, record.effect.top.size()); ++i) {
    top.push_back(texts.text(record.effect.top[i].token));
  }
  entry["top_tokens"] = std::move(top);
  if (!record.contexts.empty()) {
    const HeadContext& strongest = record.contexts.front();
    entry["peak_token"] =
        texts.text(strongest.tokens[static_cast<size_t>(strongest.position - strongest.first)]);
    entry["source_token"] = source_text(strongest, texts);
  }
  return entry;
}

}  // namespace lorsa::analysis
