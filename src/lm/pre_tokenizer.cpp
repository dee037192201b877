#include "lm/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "lm/utf8.h"
#include "lorsa/core/error.h"

namespace lorsa::lm {
namespace {

using io::Json;

// GPT-2's pattern, as the tokenizers package's ByteLevel has it.
constexpr const char* kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

SplitBehavior read_behavior(const std::string& name, const std::string& where) {
  constexpr std::pair<const char*, SplitBehavior> kNames[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous}};
  for (const auto& [known, behavior] : kNames) {
    if (name == known) {
      return behavior;
    }
  }
  throw FormatError(formatted("{}: behavior \"{}\" is not supported", where, name));
}

struct Span {
  size_t begin;
  size_t end;
  bool selected;  // a match, or with `invert` a gap
};

// Matches and the gaps between them, covering `text`. As in the package an empty match counts as a
// span of its own, unless it directly follows another match.
std::vector<Span> find_spans(const SplitPattern& pattern,
                             bool invert,
                             std::string_view text,
                             MatchBuffer& buffer) {
  std::vector<Span> spans;
  size_t covered = 0;
  size_t from = 0;
  bool any_match = false;
  Match match{};
  while (from <= text.size() && pattern.find(text, from, buffer, match)) {
    const bool empty = match.begin == match.end;
    if (!empty || !any_match || match.begin != covered) {
      if (match.begin > covered) {
        spans.push_back({covered, match.begin, invert});
      }
      spans.push_back({match.begin, match.end, !invert});
      covered = match.end;
      any_match = true;
    }
    from = match.end;
    if (empty) {
      from += from < text.size() ? decode_utf8(text, from).size : 1;
    }
  }
  if (covered < text.size()) {
    spans.push_back({covered, text.size(), invert});
  }
  return spans;
}

// The package's rule: a selected span joins its neighbour unless that neighbour was reached from a
// selected span too.
void merge_with_neighbour(std::vector<Span>& spans, SplitBehavior behavior) {
  const bool backwards = behavior == SplitBehavior::kMergedWithNext;
  if (backwards) {
    std::reverse(spans.begin(), spans.end());
  }
  std::vector<Span> merged;
  bool previous_selected = false;
  for (const Span& span : spans) {
    const bool join = behavior == SplitBehavior::kContiguous ? span.selected == previous_selected
                                                             : span.selected && !previous_selected;
    if (join && !merged.empty()) {
      (backwards ? merged.back().begin : merged.back().end) = backwards ? span.begin : span.end;
    } else {
      merged.push_back(span);
    }
    previous_selected = span.selected;
  }
  if (backwards) {
    std::reverse(merged.begin(), merged.end());
  }
  spans = std::move(merged);
}

}  // namespace

PreTokenizer::PreTokenizer(const Json& settings, const std::string& where) {
  if (!settings.is_null()) {
    add_steps(settings, where);
  }
}

void PreTokenizer::add_steps(const Json& settings, const std::string& where) {
  const auto type = io::member<std::string>(settings, "type", where);
  LORSA_CHECK(!byte_level_, FormatError,
              "{}: {} behind ByteLevel is not supported: ByteLevel must be last", where, type);
  if (type == "Sequence") {
    const Json inner = io::member<Json>(settings, "pretokenizers", where);
    LORSA_CHECK(inner.is_array(), FormatError, "{}: pretokenizers: expected a list", where);
    for (size_t i = 0; i < inner.size(); ++i) {
      add_steps(inner[i], formatted("{}.pretokenizers[{}]", where, i));
    }
  } else if (type == "Digits") {
    steps_.emplace_back(Digits{io::member<bool>(settings, "individual_digits", where)});
  } else if (type == "ByteLevel") {
    if (io::member<bool>(settings, "add_prefix_space", where)) {
      steps_.emplace_back(PrefixSpace{});
    }
    if (io::member_or<bool>(settings, "use_regex", where, true)) {
      steps_.emplace_back(Split{SplitPattern(kByteLevelPattern, SplitPattern::Kind::kRegex, where),
                                SplitBehavior::kIsolated, false});
    }
    byte_level_ = true;
  } else if (type == "Split") {
    const Json pattern = io::member<Json>(settings, "pattern", where);
    const bool regex = pattern.is_object() && pattern.contains("Regex");
    const auto text = io::member<std::string>(pattern, regex ? "Regex" : "String", where);
    const auto kind = regex ? SplitPattern::Kind::kRegex : SplitPattern::Kind::kLiteral;
    const auto behavior =
        read_behavior(io::member<std::string>(settings, "behavior", where), where);
    steps_.emplace_back(Split{SplitPattern(text, kind, where + ".pattern"), behavior,
                              io::member_or<bool>(settings, "invert", where, false)});
  } else {
    throw FormatError(formatted("{}: pre-tokenizer type \"{}\" is not supported", where, type));
  }
}

void PreTokenizer::split(std::string_view text,
                         std::string_view matched,
                         MatchBuffer& buffer,
                         const Word& word) const {
  run(0, {text, matched}, buffer, word);
}

void PreTokenizer::run(size_t step, Piece piece, MatchBuffer& buffer, const Word& word) const {
  if (piece.text.empty()) {
    return;
  }
  if (step == steps_.size()) {
    word(piece.text);
  } else if (const auto* digits = std::get_if<Digits>(&steps_[step])) {
    run_digits(*digits, step + 1, piece, buffer, word);
  } else if (const auto* split = std::get_if<Split>(&steps_[step])) {
    run_split(*split, step + 1, piece, buffer, word);
  } else if (piece.text.front() == ' ') {
    run(step + 1, piece, buffer, word);
  } else {
    const std::string text = formatted("{}{}", ' ', piece.text);
    const std::string matched = formatted("{}{}", ' ', piece.matched);
    run(step + 1, {text, matched}, buffer, word);
  }
}

void PreTokenizer::run_digits(
    const Digits& digits, size_t next, Piece piece, MatchBuffer& buffer, const Word& word) const {
  const auto emit = [&](size_t begin, size_t end) {
    run(next, {piece.text.substr(begin, end - begin), piece.matched.substr(begin, end - begin)},
        buffer, word);
  };
  size_t begin = 0;
  bool in_digits = false;
  for (size_t at = 0; at < piece.text.size();) {
    const Utf8Character character = decode_utf8(piece.text, at);
    const bool digit = is_numeric(character.code);
    if (digit != in_digits || (digit && digits.individual)) {
      emit(begin, at);
      begin = at;
      in_digits = digit;
    }
    at += character.size;
  }
  emit(begin, piece.text.size());
}

void PreTokenizer::run_split(
    const Split& split, size_t next, Piece piece, MatchBuffer& buffer, const Word& word) const {
  const auto emit = [&](size_t begin, size_t end) {
    run(next, {piece.text.substr(begin, end - begin), piece.matched.substr(begin, end - begin)},
        buffer, word);
  };
  if (split.behavior != SplitBehavior::kIsolated) {
    std::vector<Span> spans = find_spans(split.pattern, split.invert, piece.matched, buffer);
    if (split.behavior != SplitBehavior::kRemoved) {
      merge_with_neighbour(spans, split.behavior);
    }
    for (const Span& span : spans) {
      if (split.behavior != SplitBehavior::kRemoved || !span.selected) {
        emit(span.begin, span.end);
      }
    }
    return;
  }
  // The usual case, without a list: every match and every gap is a piece.
  size_t covered = 0;
  size_t from = 0;
  Match match{};
  while (from <= piece.text.size() && split.pattern.find(piece.matched, from, buffer, match)) {
    emit(covered, match.begin);
    emit(match.begin, match.end);
    covered = match.end;
    from = match.end;
    if (match.begin == match.end) {
      from += from < piece.text.size() ? decode_utf8(piece.text, from).size : 1;
    }
  }
  emit(covered, piece.text.size());
}

}  // namespace lorsa::lm
