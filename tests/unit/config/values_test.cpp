#include "config/values.h"

#include <cmath>
#include <limits>
#include <stdexcept>

#include "lorsa/config/fields.h"
#include "lorsa/core/error.h"
#include "support/test.h"

namespace config = lorsa::config;

namespace {

template <typename Parse>
std::string refusal(const Parse& parse, const std::string& text) {
  try {
    parse(text);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("counts take decimal suffixes and exact fractions of them", "[config]") {
  CHECK(config::parse_count("0") == 0);
  CHECK(config::parse_count("512") == 512);
  CHECK(config::parse_count("-3") == -3);
  CHECK(config::parse_count("200k") == 200'000);
  CHECK(config::parse_count("800M") == 800'000'000);
  CHECK(config::parse_count("2B") == 2'000'000'000);
  CHECK(config::parse_count("1.5M") == 1'500'000);
  CHECK(config::parse_count("0.001k") == 1);
  CHECK(config::parse_count("9223372036854775807") == std::numeric_limits<int64_t>::max());
  CHECK(config::parse_count("9223372036.854775807B") == std::numeric_limits<int64_t>::max());
}

TEST_CASE("a count that is no whole number is refused", "[config]") {
  for (const char* text : {"",     "-",     "k",     "1e6",   "1.5", "5.0", "1.k",     ".5k",
                           "0x10", "1_000", "1 k",   "1K",    "+1",  "1kk", "0.0001k", "1.2345k",
                           "one",  "--1",   "12abc", "1,000", "nan", "inf", " 1",      "1 "}) {
    CAPTURE(text);
    CHECK(refusal(config::parse_count, text) ==
          "expected a whole number such as 512, 200k, 1.5M or 2B, found '" + std::string(text) +
              "'");
  }
}

TEST_CASE("an octal-looking number is refused as such", "[config]") {
  for (const char* text : {"010", "-007", "00", "08k"}) {
    CAPTURE(text);
    CHECK_THAT(refusal(config::parse_count, text),
               Catch::Matchers::Contains("without a leading zero"));
  }
  CHECK_THAT(refusal(config::parse_number, "010"), Catch::Matchers::Contains("leading zero"));
  CHECK_THAT(refusal(config::parse_number, "-01.5"), Catch::Matchers::Contains("leading zero"));
}

TEST_CASE("a count beyond 64 bits is refused, not wrapped", "[config]") {
  for (const char* text : {"9223372036854775808", "-9223372036854775808", "9223372037B",
                           "99999999999999999999B", "100000000000000000000000000000000000000000",
                           "1.00000000000000000000000000000000000000000k"}) {
    CAPTURE(text);
    CHECK_THAT(refusal(config::parse_count, text),
               Catch::Matchers::Contains("that fits 64 bits, found"));
  }
}

TEST_CASE("bytes take binary and decimal units", "[config]") {
  CHECK(config::parse_bytes("4096") == 4096);
  CHECK(config::parse_bytes("1B") == 1);
  CHECK(config::parse_bytes("2KiB") == 2048);
  CHECK(config::parse_bytes("512MiB") == 536'870'912);
  CHECK(config::parse_bytes("8GiB") == 8'589'934'592);
  CHECK(config::parse_bytes("1TiB") == 1'099'511'627'776);
  CHECK(config::parse_bytes("1.5GiB") == 1'610'612'736);
  CHECK(config::parse_bytes("3kB") == 3000);
  CHECK(config::parse_bytes("3MB") == 3'000'000);
  CHECK(config::parse_bytes("3GB") == 3'000'000'000);
  CHECK(config::parse_bytes("3TB") == 3'000'000'000'000);
  for (const char* text : {"", "8G", "8gib", "8 GiB", "1.5", "1.5B", "GiB", "0.3KiB"}) {
    CAPTURE(text);
    CHECK(refusal(config::parse_bytes, text) ==
          "expected a number of bytes such as 4096, 512MiB or 8GB, found '" + std::string(text) +
              "'");
  }
  CHECK_THAT(refusal(config::parse_bytes, "8388608TiB"),
             Catch::Matchers::Contains("that fits 64 bits"));
}

TEST_CASE("numbers are finite decimals", "[config]") {
  CHECK(config::parse_number("0") == 0.0);
  CHECK(config::parse_number("1.0e-3") == 1e-3);
  CHECK(config::parse_number("-2.5E+2") == -250.0);
  CHECK(config::parse_number(".5") == 0.5);
  CHECK(config::parse_number("0.25") == 0.25);
  for (const char* text : {"", "-", ".", "nan", "inf", "-inf", ".inf", "1e", "1.0.0", "0x10", "1,5",
                           "1k", "+1", "- 1", "e5", "1e5 "}) {
    CAPTURE(text);
    CHECK(refusal(config::parse_number, text) ==
          "expected a finite number, found '" + std::string(text) + "'");
  }
  for (const char* text : {"1e400", "-1e400", "1e-400"}) {
    CAPTURE(text);
    CHECK_THAT(refusal(config::parse_number, text),
               Catch::Matchers::Contains("a number that fits a double"));
  }
}

TEST_CASE("booleans are true and false and nothing else", "[config]") {
  CHECK(config::parse_boolean("true"));
  CHECK_FALSE(config::parse_boolean("false"));
  for (const char* text : {"yes", "no", "on", "True", "FALSE", "1", "0", "", "true "}) {
    CAPTURE(text);
    CHECK(refusal(config::parse_boolean, text) ==
          "expected true or false, found '" + std::string(text) + "'");
  }
}

TEST_CASE("printed numbers read back as the same bits and keep a point", "[config]") {
  for (const double value :
       {0.0, 1.0, -3.0, 0.1, 1e-3, 1e-5, 1.0 / 3.0, 6.02214076e23, 1e300,
        std::numeric_limits<double>::denorm_min(), std::numeric_limits<double>::max()}) {
    const std::string text = config::print_number(value);
    CAPTURE(text);
    CHECK(config::parse_number(text) == value);
    CHECK(text.find('.') != std::string::npos);
  }
  CHECK(config::print_number(1.0) == "1.0");
  CHECK(config::print_number(1e-5) == "1.0e-05");
}

TEST_CASE("printed bytes and counts are exact and short", "[config]") {
  CHECK(config::print_bytes(0) == "0");
  CHECK(config::print_bytes(1000) == "1000");
  CHECK(config::print_bytes(1024) == "1KiB");
  CHECK(config::print_bytes(int64_t{8} << 30) == "8GiB");
  CHECK(config::print_bytes((int64_t{1} << 30) + 1024) == "1048577KiB");
  CHECK(config::print_bytes(int64_t{3} << 40) == "3TiB");
  CHECK(config::print_short_count(4096) == "4096");
  CHECK(config::print_short_count(9000) == "9000");
  CHECK(config::print_short_count(10'000) == "10k");
  CHECK(config::print_short_count(1'500'000) == "1500k");
  CHECK(config::print_short_count(800'000'000) == "800M");
  CHECK(config::print_short_count(123'456) == "123456");
}

TEST_CASE("text is quoted where a YAML reader would see something else", "[config]") {
  CHECK(config::print_text("cache/layer-17") == "cache/layer-17");
  CHECK(config::print_text("../a_b.yaml") == "../a_b.yaml");
  for (const char* text :
       {"",    "true", "No", "null", "~",  "12", "1e5", "-",   "- a", "a: b", "a #b",
        "[a]", "{a}",  "*a", "&a",   "!a", "%a", "@a",  "a b", ".5",  ".inf", "y"}) {
    CHECK(config::print_text(text) == lorsa::formatted("{}{}{}", '"', text, '"'));
  }
  CHECK(config::print_text("a\"b\\c\n\t") == "\"a\\\"b\\\\c\\x0a\\x09\"");
  CHECK(config::print_text("é") == "\"é\"");
}
