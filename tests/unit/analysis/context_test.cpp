#include <cmath>
#include <numeric>

#include "analysis/json_text.h"
#include "analysis/patterns.h"
#include "lorsa/core/error.h"
#include "lorsa/io/json.h"
#include "support/test.h"

using namespace lorsa;
using analysis::HeadContext;

namespace {

/// A context of a row of 12 tokens 100 .. 111 whose window is positions 6 .. 9.
HeadContext filled(const std::vector<float>& z, int32_t position) {
  std::vector<int32_t> tokens(12);
  std::iota(tokens.begin(), tokens.end(), 100);
  HeadContext context;
  context.position = position;
  context.first = 6;
  context.activations.assign(4, 0.0F);
  analysis::fill_context(context, z.data(), tokens.data(), 12);
  return context;
}

}  // namespace

TEST_CASE("a context lists its weighty sources by position and sums the rest", "[analysis]") {
  const HeadContext c =
      filled({0.001F, 0.5F, 0.0F, 0.002F, 0.0F, 0.0F, -0.25F, 0.0F, 1.0F, 7.0F, 7.0F, 7.0F}, 8);
  REQUIRE(c.pattern.size() == 3);
  REQUIRE(c.pattern[0].position == 1);
  REQUIRE(c.pattern[1].position == 6);
  REQUIRE(c.pattern[1].weight == -0.25F);
  REQUIRE(c.pattern[2].position == 8);
  REQUIRE(c.pattern_rest == Approx(0.003).epsilon(1e-4));
  REQUIRE(c.tokens == std::vector<int32_t>{106, 107, 108, 109});
  REQUIRE(c.next_token == 109);
}

TEST_CASE("strong sources before the window come with their neighbours", "[analysis]") {
  const HeadContext c =
      filled({0.5F, 0.02F, 0.0F, 0.0F, 0.9F, 0.0F, 0.0F, 0.0F, 1.0F, 0.0F, 0.0F, 0.0F}, 8);
  REQUIRE(c.outside.size() == 2);
  REQUIRE(c.outside[0].source.position == 4);
  REQUIRE(c.outside[0].first == 1);
  REQUIRE(c.outside[0].tokens == std::vector<int32_t>{101, 102, 103, 104, 105, 106, 107});
  REQUIRE(c.outside[1].source.position == 0);
  REQUIRE(c.outside[1].first == 0);
  REQUIRE(c.outside[1].tokens == std::vector<int32_t>{100, 101, 102, 103});
}

TEST_CASE("the last token of a row has no next token", "[analysis]") {
  const std::vector<float> z(12, 0.1F);
  HeadContext c;
  c.position = 11;
  c.first = 8;
  c.activations.assign(4, 0.0F);
  std::vector<int32_t> tokens(12, 1);
  analysis::fill_context(c, z.data(), tokens.data(), 12);
  REQUIRE(c.next_token == -1);
  REQUIRE(c.pattern.size() == 12);
  REQUIRE(std::abs(c.pattern_rest) < 1e-6F);
}

TEST_CASE("a diffuse pattern is cut to its heaviest sources and the rest is summed", "[analysis]") {
  std::vector<float> z(400);
  for (size_t j = 0; j < z.size(); ++j) {
    z[j] = 1.0F + static_cast<float>(j) / 1000.0F;
  }
  const std::vector<int32_t> tokens(400, 1);
  HeadContext c;
  c.position = 399;
  c.first = 396;
  c.activations.assign(4, 0.0F);
  analysis::fill_context(c, z.data(), tokens.data(), 400);
  REQUIRE(c.pattern.size() == analysis::kMostSources);
  REQUIRE(c.pattern.capacity() == analysis::kMostSources);
  REQUIRE(c.pattern.front().position == 400 - analysis::kMostSources);
  REQUIRE(c.outside.size() == analysis::kMostOutside);
  double listed = 0.0;
  for (const analysis::Source& source : c.pattern) {
    listed += source.weight;
  }
  const double total = std::accumulate(z.begin(), z.end(), 0.0);
  REQUIRE(listed + c.pattern_rest == Approx(total));
}

TEST_CASE("a JSON string reads back as the text it was made of", "[analysis]") {
  for (const std::string text :
       {"", "a\"b\\c", "\n\t\r", "</script>", "caf\u00e9 \u2028\u2029 \U0001F600", "\x01\x7f"}) {
    const std::string quoted = analysis::json_string(text);
    REQUIRE(io::parse_json(quoted, "text").get<std::string>() == text);
    REQUIRE(quoted.find("\u2028") == std::string::npos);
    REQUIRE(quoted.find('\n') == std::string::npos);
  }
  // Half a character.
  REQUIRE(io::parse_json(analysis::json_string("a\xC3"), "text").get<std::string>() == "a\uFFFD");
}

TEST_CASE("numbers are JSON with six digits and never infinite", "[analysis]") {
  for (const double value : {0.0, 1.0, -2.5, 1e-7, 123456789.0, 3.14159265, -1e30}) {
    std::string text;
    analysis::append_number(text, value);
    REQUIRE(io::parse_json(text, "number").get<double>() == Approx(value).epsilon(1e-5));
  }
  std::string text;
  REQUIRE_THROWS_AS(analysis::append_number(text, std::nan("")), Error);
}
