#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "lorsa/config/fields.h"

// What every command's options allow, and what is said of those that are not: the words of
// configurations ("expected 1 or more, found 0"), whatever CLI11 would say.

namespace lorsa::tools {

/// A whole number, written as in configurations (512, 200k, 1.5M).
[[nodiscard]] CLI::Validator count_between(int64_t least, int64_t most);

/// Any text but none: what an unset variable of a shell leaves of --model "$MODEL" is an error, not
/// an option that was not given. `what` says what is expected: "a folder".
[[nodiscard]] CLI::Validator filled(const std::string& what);

/// An option --some-key for every key `some_key`: a flag for a boolean, comma-separated counts,
/// texts that may be given several times. `fields` outlives the app.
void add_fields(CLI::App& app, const config::Fields& fields);

/// A library's message, in which option names of `app` stand as keys (`some_key`), for its command
/// line: --some-key.
[[nodiscard]] std::string with_option_names(const CLI::App& app, const std::string& message);

/// What people get of a message: LibTorch appends a C++ stack to its own, CLI11 the help.
[[nodiscard]] std::string first_line(const std::string& text);

/// What is wrong with a command line that CLI11 refused with `error`, and where help is, in one
/// line.
[[nodiscard]] std::string usage_message(const CLI::App& app, const CLI::ParseError& error);

}  // namespace lorsa::tools
