#include "lorsa/core/text.h"

#include "lorsa/core/error.h"
#include "support/test.h"
#include "support/throws.h"

using lorsa::byte_order_mark;
using lorsa::checked_text;
using lorsa::FormatError;
using std::string_literals::operator""s;

namespace {

std::string refused(const std::string& bytes) {
  return lorsa::test::message_of<FormatError>(
      [&] { static_cast<void>(checked_text(bytes, "a.txt")); });
}

}  // namespace

TEST_CASE("text of a file is its bytes without the byte order mark", "[core]") {
  CHECK(checked_text("", "a.txt").empty());
  CHECK(checked_text("\xef\xbb\xbf", "a.txt").empty());
  CHECK(checked_text("\xef\xbb\xbfhello world\r\n", "a.txt") == "hello world\r\n");
  CHECK(checked_text("no mark \xef\xbb\xbf here", "a.txt") == "no mark \xef\xbb\xbf here");
  CHECK(byte_order_mark("\xef\xbb\xbfx", "a.txt") == 3);
  CHECK(byte_order_mark("\xef\xbb", "a.txt") == 0);
  CHECK(byte_order_mark("x", "a.txt") == 0);
  // A lone NUL begins no wide text: the line says what it is.
  CHECK(byte_order_mark("\0"s, "a.txt") == 0);
}

// The bytes are Python's "hé".encode(...), with and without a mark.
TEST_CASE("UTF-16 and UTF-32 are named, with a mark and without", "[core]") {
  for (const std::string& bytes :
       {"\xff\xfeh\0\xe9\0"s, "\xfe\xff\0h\0\xe9"s, "h\0\xe9\0"s, "\0h\0\xe9"s, "\xff\xfe"s}) {
    CAPTURE(bytes);
    lorsa::test::require_parts(refused(bytes),
                               {"a.txt: expected UTF-8, found UTF-16 ", "iconv -f UTF-16"});
  }
  for (const std::string& bytes : {"\xff\xfe\0\0h\0\0\0\xe9\0\0\0"s, "\0\0\xfe\xff\0\0\0h"s,
                                   "h\0\0\0\xe9\0\0\0"s, "\0\0\0h\0\0\0\xe9"s}) {
    CAPTURE(bytes);
    lorsa::test::require_parts(refused(bytes), {"a.txt: expected UTF-8, found UTF-32 "});
  }
}

TEST_CASE("what is no text is refused by its line", "[core]") {
  lorsa::test::require_parts(refused("one\ntwo \0 three\n"s), {"a.txt:2: ", "found a NUL byte"});
  lorsa::test::require_parts(refused("one\r\ntwo\ncaf\xe9\n"),
                             {"a.txt:3: expected UTF-8, found byte 0xE9", "Windows-1252"});
  lorsa::test::require_parts(refused("\x1f\x8b\x08\0\0\0\0\0"s),
                             {"a.txt: expected text, found gzip data; unpack it"});
  lorsa::test::require_parts(refused("\xc3"), {"a.txt:1: ", "0xC3"});
}

TEST_CASE("line ends of Windows become line feeds, a lone carriage return stays", "[core]") {
  CHECK(lorsa::with_line_feeds("a\r\nb\r\n") == "a\nb\n");
  CHECK(lorsa::with_line_feeds("a\nb") == "a\nb");
  CHECK(lorsa::with_line_feeds("a\rb\r") == "a\rb\r");
  CHECK(lorsa::with_line_feeds("\r\r\n") == "\r\n");
  CHECK(lorsa::with_line_feeds("").empty());
}

TEST_CASE("filled lines have neither ends nor blanks behind them", "[core]") {
  using Lines = std::vector<std::string>;
  CHECK(lorsa::filled_lines("one\ntwo\n") == Lines{"one", "two"});
  CHECK(lorsa::filled_lines("one\r\n\r\n  two \t\r\n \nthree") == Lines{"one", "  two", "three"});
  CHECK(lorsa::filled_lines("").empty());
  CHECK(lorsa::filled_lines("\n \r\n\t\n").empty());
  CHECK(lorsa::filled_lines("a\rb\n") == Lines{"a\rb"});
}
