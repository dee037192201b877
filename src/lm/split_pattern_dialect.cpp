// A split pattern decides ids, so one that two regex engines read differently must not pass. Rather
// than list all differences (Oniguruma's \h is a hex digit, its ^ is always per line, {1,3}+ is not
// possessive, [a[b]] nests, \b and \w know other letters, ...), only constructs known to agree
// pass.
#include "lm/split_pattern_dialect.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <string_view>
#include <vector>

#include "lm/unicode_tables.h"
#include "lm/utf8.h"
#include "lorsa/core/error.h"
#include "lorsa/core/text.h"

namespace lorsa::lm {
namespace {

constexpr std::array<std::string_view, 34> kCategories = {
    "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N", "Nd",
    "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm",
    "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp", "Cc", "Cf", "Co"};

// Letters under (?i:...) that Oniguruma also matches with one other character: ss with ß, fi with
// ﬁ.
constexpr std::array<std::string_view, 5> kFoldedPairs = {"ss", "ff", "fi", "fl", "st"};

constexpr int64_t kSet = -1;

class Checker {
 public:
  Checker(const std::string& pattern, const std::string& where)
      : pattern_(pattern), where_(where) {}

  void run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '(') {
        open_group();
      } else if (c == ')') {
        close_group();
      } else if (c == '[') {
        character_class();
      } else if (c == '^' || c == '$') {
        refuse(1);
      } else if (c == '*' || c == '+' || c == '?' || c == '{') {
        quantifier();
      } else if (c == '|' || c == '.') {
        ++at_;
        previous_letter_ = 0;
      } else {
        literal_outside(character());
      }
    }
  }

 private:
  [[noreturn]] void refuse(size_t size) const {
    throw FormatError(formatted("{}: regex construct \"{}\" at byte {} of \"{}\" is not supported",
                                where_, pattern_.substr(at_, size), at_, pattern_));
  }

  [[nodiscard]] bool ahead(std::string_view text) const {
    return pattern_.compare(at_, text.size(), text) == 0;
  }

  void open_group() {
    bool caseless = caseless_.back();
    size_t size = 1;
    if (ahead("(*")) {
      refuse(2);
    }
    if (ahead("(?")) {
      constexpr std::array<std::string_view, 7> kOpenings = {
          "(?:", "(?i:", "(?>", "(?=", "(?!", "(?<=", "(?<!"};
      const auto* const found = std::find_if(kOpenings.begin(), kOpenings.end(),
                                             [&](std::string_view text) { return ahead(text); });
      if (found == kOpenings.end()) {
        refuse(4);
      }
      size = found->size();
      caseless = caseless || *found == "(?i:";
    }
    caseless_.push_back(caseless);
    previous_letter_ = 0;
    at_ += size;
  }

  void close_group() {
    if (caseless_.size() == 1) {
      refuse(1);
    }
    caseless_.pop_back();
    previous_letter_ = 0;
    ++at_;
  }

  void quantifier() {
    previous_letter_ = 0;
    if (pattern_[at_] != '{') {
      ++at_;
      if (ahead("?") || ahead("+")) {
        ++at_;
      }
      return;
    }
    const size_t close = pattern_.find('}', at_);
    if (close == std::string::npos) {
      refuse(1);
    }
    const std::string_view inner(pattern_.data() + at_ + 1, close - at_ - 1);
    const size_t comma = inner.find(',');
    const auto is_number = [](std::string_view text) {
      return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    };
    const bool has_comma = comma != std::string_view::npos;
    const std::string_view low = inner.substr(0, comma);
    const std::string_view high = has_comma ? inner.substr(comma + 1) : std::string_view();
    if (low.empty() || !is_number(low) || !is_number(high)) {
      refuse(close + 1 - at_);
    }
    const char next = close + 1 < pattern_.size() ? pattern_[close + 1] : '\0';
    // {1,3}+ repeats once more in Oniguruma, {3}? is optional there.
    if (next == '+' || (next == '?' && !has_comma)) {
      refuse(close + 2 - at_);
    }
    at_ = close + (next == '?' ? 2 : 1);
  }

  // Reads one literal character or escape; kSet for a set such as \s.
  int64_t character() {
    if (pattern_[at_] != '\\') {
      const Utf8Character found = decode_utf8(pattern_, at_);
      at_ += found.size;
      return found.code;
    }
    const char kind = at_ + 1 < pattern_.size() ? pattern_[at_ + 1] : '\0';
    switch (kind) {
      case 'r':
      case 'n':
      case 't':
      case 'f':
        at_ += 2;
        return kind == 'r' ? '\r' : kind == 'n' ? '\n' : kind == 't' ? '\t' : '\f';
      case 's':
      case 'S':
      case 'd':
      case 'D':
        at_ += 2;
        return kSet;
      case 'p':
      case 'P':
        property();
        return kSet;
      case 'x':
        return hexadecimal();
      default:
        if (std::ispunct(static_cast<unsigned char>(kind)) == 0) {
          refuse(2);
        }
        at_ += 2;
        return kind;
    }
  }

  void property() {
    const size_t close = pattern_.find('}', at_);
    if (pattern_.compare(at_ + 2, 1, "{") != 0 || close == std::string::npos) {
      refuse(3);
    }
    const std::string_view name(pattern_.data() + at_ + 3, close - at_ - 3);
    const bool known = std::find(kCategories.begin(), kCategories.end(), name) != kCategories.end();
    const bool cased = name == "Lu" || name == "Ll" || name == "Lt";
    if (!known || (cased && caseless_.back())) {
      refuse(close + 1 - at_);
    }
    at_ = close + 1;
  }

  int64_t hexadecimal() {
    const size_t close = pattern_.find('}', at_);
    if (!ahead("\\x{") || close == std::string::npos || close - at_ < 4 || close - at_ > 9) {
      refuse(4);
    }
    int64_t code = 0;
    for (size_t i = at_ + 3; i < close; ++i) {
      const char c = pattern_[i];
      if (std::isxdigit(static_cast<unsigned char>(c)) == 0) {
        refuse(close + 1 - at_);
      }
      const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
      code = code * 16 + digit;
    }
    at_ = close + 1;
    return code;
  }

  void literal_outside(int64_t code) {
    if (code == kSet) {
      previous_letter_ = 0;
      return;
    }
    check_range(code, code);
    const int64_t lower = code >= 'A' && code <= 'Z' ? code + 32 : code;
    if (caseless_.back() && lower < 0x80) {
      const char pair[2] = {previous_letter_, static_cast<char>(lower)};
      if (std::find(kFoldedPairs.begin(), kFoldedPairs.end(), std::string_view(pair, 2)) !=
          kFoldedPairs.end()) {
        throw FormatError(
            formatted("{}: \"{}\" under (?i: in \"{}\" is not supported: it folds to one character",
                      where_, std::string(pair, 2), pattern_));
      }
      previous_letter_ = static_cast<char>(lower);
    } else {
      previous_letter_ = 0;
    }
  }

  void character_class() {
    const size_t start = at_;
    at_ += ahead("[^") ? 2 : 1;
    if (ahead("]")) {
      refuse(1);
    }
    int64_t previous = kSet;
    bool first = true;
    while (!ahead("]")) {
      if (at_ >= pattern_.size()) {
        at_ = start;
        refuse(pattern_.size() - start);
      }
      if (ahead("[") || ahead("&&")) {
        refuse(2);
      }
      const bool last = at_ + 1 < pattern_.size() && pattern_[at_ + 1] == ']';
      if (ahead("-") && !first && !last) {
        if (previous == kSet) {
          refuse(1);
        }
        ++at_;
        const int64_t high = ahead("[") ? kSet : character();
        if (high == kSet) {
          refuse(1);
        }
        check_range(previous, high);
        previous = kSet;
      } else {
        previous = character();
        if (previous != kSet) {
          check_range(previous, previous);
        }
      }
      first = false;
    }
    ++at_;
    previous_letter_ = 0;
  }

  // Literal characters are compared with text in which stand-ins replace others: a range that holds
  // a replaced character or a stand-in would see the wrong one.
  void check_range(int64_t first, int64_t last) const {
    if (last < 0x80) {
      return;
    }
    for (const StandIn& entry : stand_ins()) {
      const bool holds_replaced = first <= entry.last && entry.first <= last;
      const bool holds_stand_in = first <= entry.use && entry.use <= last;
      LORSA_CHECK(!holds_replaced && !holds_stand_in && !caseless_.back(), FormatError,
                  "{}: \"{}\": literal characters U+{} to U+{} are not supported", where_, pattern_,
                  hex_digits(static_cast<uint32_t>(first)),
                  hex_digits(static_cast<uint32_t>(last)));
    }
  }

  const std::string& pattern_;
  const std::string& where_;
  size_t at_ = 0;
  std::vector<bool> caseless_{false};
  char previous_letter_ = 0;  // under (?i:
};

}  // namespace

void check_split_dialect(const std::string& pattern, const std::string& where) {
  Checker(pattern, where).run();
}

void check_split_literal(const std::string& literal, const std::string& where) {
  for (size_t at = 0; at < literal.size();) {
    const Utf8Character character = decode_utf8(literal, at);
    for (const StandIn& entry : stand_ins()) {
      LORSA_CHECK(character.code != entry.use && !has_stand_in(character.code), FormatError,
                  "{}: the character at byte {} of \"{}\" is not supported", where, at, literal);
    }
    at += character.size;
  }
}

}  // namespace lorsa::lm
