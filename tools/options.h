#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <initializer_list>
#include <string>

// What every command's options allow, and what is said of those that are not: the words of
// configurations ("expected 1 or more, found 0"), whatever CLI11 would say.

namespace lorsa::tools {

/// A whole number from `least` on, written as in configurations (512, 200k, 1.5M). The option's
/// variable may be of any integer type; a list is checked number by number.
[[nodiscard]] CLI::Validator count_from(int64_t least);
[[nodiscard]] CLI::Validator count_between(int64_t least, int64_t most);

/// A finite number from `least` on.
[[nodiscard]] CLI::Validator number_from(double least);

/// One of `words`.
[[nodiscard]] CLI::Validator one_of(std::initializer_list<const char*> words);

/// Any text but none: what an unset variable of a shell leaves of --model "$MODEL" is an error, not
/// an option that was not given. `what` says what is expected: "a folder".
[[nodiscard]] CLI::Validator filled(const std::string& what);

/// What people get of a message: LibTorch appends a C++ stack to its own, CLI11 the help.
[[nodiscard]] std::string first_line(const std::string& text);

/// What is wrong with a command line that CLI11 refused with `error`, and where help is, in one
/// line.
[[nodiscard]] std::string usage_message(const CLI::App& app, const CLI::ParseError& error);

}  // namespace lorsa::tools
