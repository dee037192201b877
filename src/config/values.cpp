#include "config/values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <span>
#include <stdexcept>
#include <string_view>

#include "lorsa/config/fields.h"
#include "lorsa/core/error.h"

namespace lorsa::config {
namespace {

__extension__ using Wide = unsigned __int128;

struct Suffix {
  std::string_view text;
  int64_t factor;
};

constexpr std::array kCountSuffixes = {Suffix{"k", 1'000}, Suffix{"M", 1'000'000},
                                       Suffix{"B", 1'000'000'000}};
constexpr std::array kByteSuffixes = {Suffix{"B", 1},
                                      Suffix{"kB", 1'000},
                                      Suffix{"MB", 1'000'000},
                                      Suffix{"GB", 1'000'000'000},
                                      Suffix{"TB", 1'000'000'000'000},
                                      Suffix{"KiB", int64_t{1} << 10},
                                      Suffix{"MiB", int64_t{1} << 20},
                                      Suffix{"GiB", int64_t{1} << 30},
                                      Suffix{"TiB", int64_t{1} << 40}};

[[noreturn]] void refuse(std::string_view expected, std::string_view found) {
  throw std::invalid_argument(formatted("expected {}, found '{}'", expected, found));
}

std::string_view take_digits(std::string_view& text) {
  const size_t end = std::min(text.find_first_not_of("0123456789"), text.size());
  const std::string_view digits = text.substr(0, end);
  text.remove_prefix(end);
  return digits;
}

void refuse_octal(std::string_view digits, std::string_view expected, std::string_view found) {
  if (digits.size() > 1 && digits.front() == '0') {
    refuse(formatted("{} without a leading zero (octal or decimal?)", expected), found);
  }
}

/// [-]digits[.digits][suffix], exactly, as a whole number.
int64_t parse_scaled(const std::string& text,
                     std::span<const Suffix> suffixes,
                     std::string_view expected) {
  std::string_view rest = text;
  const bool negative = rest.starts_with('-');
  rest.remove_prefix(negative ? 1 : 0);
  const std::string_view whole = take_digits(rest);
  std::string_view fraction;
  const bool has_point = rest.starts_with('.');
  if (has_point) {
    rest.remove_prefix(1);
    fraction = take_digits(rest);
  }
  int64_t factor = 1;
  if (!rest.empty()) {
    const auto suffix = std::find_if(suffixes.begin(), suffixes.end(),
                                     [rest](const Suffix& s) { return s.text == rest; });
    if (suffix == suffixes.end()) {
      refuse(expected, text);
    }
    factor = suffix->factor;
  }
  if (whole.empty() || (has_point && (fraction.empty() || factor == 1))) {
    refuse(expected, text);
  }
  refuse_octal(whole, expected, text);
  // 25 digits times 2^40 stay below 2^124.
  if (whole.size() + fraction.size() > 25) {
    refuse(formatted("{} that fits 64 bits", expected), text);
  }
  Wide mantissa = 0;
  Wide scale = 1;
  for (const char digit : whole) {
    mantissa = mantissa * 10 + static_cast<Wide>(digit - '0');
  }
  for (const char digit : fraction) {
    mantissa = mantissa * 10 + static_cast<Wide>(digit - '0');
    scale *= 10;
  }
  const Wide product = mantissa * static_cast<Wide>(factor);
  if (product % scale != 0) {
    refuse(expected, text);
  }
  if (product / scale > static_cast<Wide>(std::numeric_limits<int64_t>::max())) {
    refuse(formatted("{} that fits 64 bits", expected), text);
  }
  const auto value = static_cast<int64_t>(product / scale);
  return negative ? -value : value;
}

bool is_plain_text(std::string_view text) {
  static constexpr std::array<std::string_view, 8> kReserved = {"null", "true", "false", "yes",
                                                                "no",   "on",   "off",   "y"};
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (lower == "n" || std::find(kReserved.begin(), kReserved.end(), lower) != kReserved.end()) {
    return false;
  }
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '/';
  };
  const bool path_like = text.starts_with("./") || text.starts_with("../");
  if (text.empty() || !(is_letter(text.front()) || path_like)) {
    return false;
  }
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+';
  });
}

}  // namespace

int64_t parse_count(const std::string& text) {
  return parse_scaled(text, kCountSuffixes, "a whole number such as 512, 200k, 1.5M or 2B");
}

int64_t parse_bytes(const std::string& text) {
  return parse_scaled(text, kByteSuffixes, "a number of bytes such as 4096, 512MiB or 8GB");
}

double parse_number(const std::string& text) {
  constexpr std::string_view kExpected = "a finite number";
  std::string_view rest = text;
  rest.remove_prefix(rest.starts_with('-') ? 1 : 0);
  const std::string_view whole = take_digits(rest);
  // from_chars alone would take "inf", "nan" and "010".
  if (whole.empty() && !(rest.size() > 1 && rest[0] == '.' && rest[1] >= '0' && rest[1] <= '9')) {
    refuse(kExpected, text);
  }
  refuse_octal(whole, kExpected, text);
  double value = 0.0;
  const char* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, value);
  if (code == std::errc::result_out_of_range) {
    refuse("a number that fits a double", text);
  }
  if (code != std::errc() || stop != end || !std::isfinite(value)) {
    refuse(kExpected, text);
  }
  return value;
}

bool parse_boolean(const std::string& text) {
  if (text == "true") {
    return true;
  }
  if (text != "false") {
    refuse("true or false", text);
  }
  return false;
}

std::string print_number(double value) {
  std::array<char, 64> buffer{};
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  std::string text(buffer.data(), result.ptr);
  if (text.find('.') == std::string::npos) {
    text.insert(std::min(text.find('e'), text.size()), ".0");
  }
  return text;
}

std::string print_bytes(int64_t value) {
  static constexpr std::array<const char*, 4> kUnits = {"TiB", "GiB", "MiB", "KiB"};
  for (size_t i = 0; i < kUnits.size(); ++i) {
    const int64_t unit = int64_t{1} << (10 * (kUnits.size() - i));
    if (value != 0 && value % unit == 0) {
      return std::to_string(value / unit) + kUnits[i];
    }
  }
  return std::to_string(value);
}

std::string print_short_count(int64_t value) {
  for (size_t i = kCountSuffixes.size(); i-- > 0;) {
    const auto& [text, factor] = kCountSuffixes[i];
    if (value >= 10'000 && value % factor == 0) {
      return formatted("{}{}", value / factor, text);
    }
  }
  return std::to_string(value);
}

std::string print_text(const std::string& value) {
  if (is_plain_text(value)) {
    return value;
  }
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\x%02x", static_cast<unsigned>(c));
      quoted += escape.data();
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string print_list(const std::vector<std::string>& items) {
  std::string text = "[";
  for (const std::string& item : items) {
    text += text.size() == 1 ? "" : ", ";
    text += item;
  }
  return text + "]";
}

}  // namespace lorsa::config
