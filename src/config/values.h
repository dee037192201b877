#pragma once

// Scalars of configuration files: text to value and back. Parsers throw std::invalid_argument
// "expected ..., found ...".

#include <cstdint>
#include <string>
#include <vector>

namespace lorsa::config {

[[nodiscard]] int64_t parse_bytes(const std::string& text);
[[nodiscard]] double parse_number(const std::string& text);
[[nodiscard]] bool parse_boolean(const std::string& text);

/// The shortest text that parse_number() reads back as the same value; always with a point, so
/// that other YAML readers see a float too.
[[nodiscard]] std::string print_number(double value);

/// "8GiB" for whole multiples of a binary unit, digits for the rest.
[[nodiscard]] std::string print_bytes(int64_t value);

/// "200k" for whole multiples from 10,000 on, digits for the rest: for people.
[[nodiscard]] std::string print_short_count(int64_t value);

/// As a YAML scalar; quoted where other YAML readers would see something else than this text.
[[nodiscard]] std::string print_text(const std::string& value);

/// "[a, b]" of scalars already printed.
[[nodiscard]] std::string print_list(const std::vector<std::string>& items);

}  // namespace lorsa::config
