#pragma once

// Standard error, shared by log lines and the progress line: a log line first wipes a half-drawn
// progress line, which the next draw restores.

#include <string>

namespace lorsa::terminal {

/// Whether standard error is a terminal that understands line redrawing.
[[nodiscard]] bool is_interactive();

/// Writes `line` and a line feed.
void write_line(const std::string& line);

/// Replaces the present line by `line`, cut to the terminal's width, and stays on it.
void redraw(const std::string& line);

/// Ends a line that redraw() left open.
void end_line();

}  // namespace lorsa::terminal
