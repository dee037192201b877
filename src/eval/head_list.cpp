#include "lorsa/eval/head_list.h"

#include <charconv>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"

namespace lorsa::eval {
namespace {

constexpr std::string_view kSeparators = ", \t\r\n";

template <typename Number>
std::optional<Number> number(std::string_view text) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end ? std::optional(value) : std::nullopt;
}

void check_head(const std::string& option, int64_t head, int64_t num_heads) {
  LORSA_CHECK(head >= 0 && head < num_heads, ConfigError,
              "{}: expected heads from 0 to {}, found {}", option, num_heads - 1, head);
}

std::string known_names(const NamedHeads& named) {
  std::string names;
  for (const auto& [name, heads] : named) {
    names += (names.empty() ? "" : ", ") + name;
  }
  return names.empty() ? "no names are known here" : "known names: " + names;
}

/// Collects the heads of a list.
class HeadList {
 public:
  HeadList(std::string option, int64_t num_heads, const NamedHeads& named)
      : option_(std::move(option)), num_heads_(num_heads), named_(named) {}

  void add(std::string_view item) {
    if (const auto entry = named_.find(std::string(item)); entry != named_.end()) {
      for (const int64_t head : entry->second) {
        check_head(option_, head, num_heads_);
        by_name_.insert(head);
      }
      return;
    }
    const size_t dash = item.find('-');
    const auto first = number<int64_t>(item.substr(0, dash));
    const auto last =
        dash == std::string_view::npos ? first : number<int64_t>(item.substr(dash + 1));
    LORSA_CHECK(first && last && *first <= *last, ConfigError,
                "{}: expected a head, a range such as 40-60 or a name, found '{}' ({})", option_,
                item, known_names(named_));
    check_head(option_, *first, num_heads_);
    check_head(option_, *last, num_heads_);
    for (int64_t head = *first; head <= *last; ++head) {
      LORSA_CHECK(by_number_.insert(head).second, ConfigError,
                  "{}: expected every head once, found {} twice", option_, head);
    }
  }

  [[nodiscard]] std::vector<int64_t> heads() const {
    std::set<int64_t> all = by_name_;
    for (const int64_t head : by_number_) {
      LORSA_CHECK(all.insert(head).second, ConfigError,
                  "{}: expected heads once, found {} as a number and under a name", option_, head);
    }
    LORSA_CHECK(!all.empty(), ConfigError, "{}: expected at least one head, found none", option_);
    return {all.begin(), all.end()};
  }

 private:
  std::string option_;
  int64_t num_heads_;
  const NamedHeads& named_;
  std::set<int64_t> by_name_;
  std::set<int64_t> by_number_;
};

}  // namespace

std::vector<int64_t> parse_heads(std::string_view text,
                                 int64_t num_heads,
                                 const NamedHeads& named) {
  const std::string list =
      text.starts_with('@') ? io::read_text(text.substr(1)) : std::string(text);
  const std::string option =
      text.starts_with('@') ? formatted("`ablate_heads` {}", text) : "`ablate_heads`";
  HeadList heads(option, num_heads, named);
  size_t begin = list.find_first_not_of(kSeparators);
  while (begin != std::string::npos) {
    const size_t end = list.find_first_of(kSeparators, begin);
    heads.add(std::string_view(list).substr(begin, end - begin));
    begin = list.find_first_not_of(kSeparators, end);
  }
  return heads.heads();
}

HeadEdit parse_steer(std::string_view text, int64_t num_heads) {
  const size_t equal = text.find('=');
  const auto head = number<int64_t>(text.substr(0, equal));
  const auto value =
      equal == std::string_view::npos ? std::nullopt : number<double>(text.substr(equal + 1));
  LORSA_CHECK(head && value && std::isfinite(*value), ConfigError,
              "`steer`: expected HEAD=VALUE with a finite number, found '{}'", text);
  check_head("`steer`", *head, num_heads);
  return {*head, *value};
}

HeadEdits join_edits(const std::vector<int64_t>& ablated, const std::vector<HeadEdit>& steered) {
  const std::set<int64_t> zeroed(ablated.begin(), ablated.end());
  HeadEdits edits;
  for (const int64_t head : ablated) {
    edits.push_back({head, 0.0});
  }
  std::set<int64_t> seen;
  for (const HeadEdit& edit : steered) {
    LORSA_CHECK(!zeroed.contains(edit.head), ConfigError,
                "`ablate_heads` and `steer`: expected other heads, found {} in both", edit.head);
    LORSA_CHECK(seen.insert(edit.head).second, ConfigError,
                "`steer`: expected every head once, found {} twice", edit.head);
    edits.push_back(edit);
  }
  return edits;
}

}  // namespace lorsa::eval
