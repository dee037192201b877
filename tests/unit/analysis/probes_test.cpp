#include "analysis/probes.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "analysis/probe_rows.h"
#include "lorsa/core/error.h"
#include "support/test.h"
#include "support/throws.h"

// What a probe says is looked up again in its rows, by means that share nothing with its making.

namespace lorsa {
namespace {

using analysis::Probe;
using analysis::ProbeQuery;

lm::Tokenizer tokenizer() {
  return lm::Tokenizer(test::golden("tokenizer/llama3"));
}

analysis::ProbeOptions small() {
  analysis::ProbeOptions options;
  options.num_rows = 6;
  options.num_operands = 4;
  options.seed = 7;
  return options;
}

Probe named(const std::vector<Probe>& probes, const std::string& family) {
  const auto found = std::find_if(probes.begin(), probes.end(),
                                  [&](const Probe& probe) { return probe.family == family; });
  REQUIRE(found != probes.end());
  REQUIRE(!found->queries.empty());
  return *found;
}

std::vector<int32_t> row_of(const Probe& probe, int64_t row) {
  const at::Tensor tokens = probe.tokens_BT[row].contiguous();
  return {tokens.const_data_ptr<int32_t>(), tokens.const_data_ptr<int32_t>() + tokens.numel()};
}

/// A row as text, and where each token ends in it.
lm::DecodedText text_of(const lm::Tokenizer& t, const Probe& probe, int64_t row) {
  return t.decode_with_offsets(row_of(probe, row));
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string token_in(const lm::DecodedText& text, int32_t position) {
  const auto p = static_cast<size_t>(position);
  return text.bytes.substr(text.offsets[p], text.offsets[p + 1] - text.offsets[p]);
}

}  // namespace

TEST_CASE("random probes name the positions that their families read", "[analysis]") {
  const lm::Tokenizer t = tokenizer();
  const std::vector<Probe> probes = analysis::random_token_probes(t, small());
  const Probe induction = named(probes, "induction");
  for (const ProbeQuery& query : induction.queries) {
    const std::vector<int32_t> row = row_of(induction, query.row);
    REQUIRE(query.sources.size() == 1);
    const auto before = static_cast<size_t>(query.sources[0] - 1);
    const auto here = row.begin() + query.position;
    // The token stood once before, and what followed there follows here.
    REQUIRE(std::count(row.begin(), here, *here) == 1);
    REQUIRE(row[before] == *here);
    REQUIRE(row[before + 1] == *(here + 1));
  }
  const Probe duplicate = named(probes, "duplicate_token");
  int64_t followed_alike = 0;
  for (const ProbeQuery& query : duplicate.queries) {
    const std::vector<int32_t> row = row_of(duplicate, query.row);
    const auto here = row.begin() + query.position;
    REQUIRE(std::find(row.begin(), here, *here) - row.begin() == query.sources[0]);
    followed_alike += row[static_cast<size_t>(query.sources[0]) + 1] == *(here + 1) ? 1 : 0;
  }
  REQUIRE(followed_alike < static_cast<int64_t>(duplicate.queries.size()) / 10);
  for (const ProbeQuery& query : named(probes, "previous_token").queries) {
    REQUIRE(query.sources == std::vector<int32_t>{query.position - 1});
  }
  for (const ProbeQuery& query : named(probes, "attention_sink").queries) {
    REQUIRE(query.sources == std::vector<int32_t>{0});
    REQUIRE(query.position >= 3);
  }
  for (const Probe& probe : probes) {
    for (int64_t row = 0; row < probe.tokens_BT.size(0); ++row) {
      REQUIRE(row_of(probe, row)[0] == *t.bos_id());
      REQUIRE(row_of(probe, row)[1] != *t.bos_id());
    }
  }
}

TEST_CASE("probes are the same for the same seed, others for another", "[analysis]") {
  const lm::Tokenizer t = tokenizer();
  analysis::ProbeOptions options = small();
  const Probe first = analysis::random_token_probes(t, options)[0];
  REQUIRE(at::equal(first.tokens_BT, analysis::random_token_probes(t, options)[0].tokens_BT));
  options.seed = 8;
  const Probe other = analysis::random_token_probes(t, options)[0];
  const bool same = first.tokens_BT.sizes() == other.tokens_BT.sizes() &&
                    at::equal(first.tokens_BT, other.tokens_BT);
  REQUIRE_FALSE(same);
}

TEST_CASE("within a word that comes again the answer holds its next character", "[analysis]") {
  const lm::Tokenizer t = tokenizer();
  const Probe probe = named(analysis::text_probes(t, small()), "subtoken_induction");
  int64_t cut_otherwise = 0;
  for (const ProbeQuery& query : probe.queries) {
    const lm::DecodedText text = text_of(t, probe, query.row);
    const std::string letters = lower(text.bytes);
    const size_t next = text.offsets[static_cast<size_t>(query.position) + 1];
    // The last three letters and the next one have stood together before, inside the answer.
    const size_t earlier = letters.find(letters.substr(next - 3, 4));
    REQUIRE(earlier + 3 < next);
    const auto source = static_cast<size_t>(query.sources[0]);
    const size_t first_place = earlier + 3;
    REQUIRE(text.offsets[source] <= first_place);
    REQUIRE(first_place < text.offsets[source + 1]);
    const bool same_token =
        lower(token_in(text, query.position)) == lower(token_in(text, query.sources[0] - 1));
    cut_otherwise += same_token ? 0 : 1;
  }
  // Some words are cut differently the second time.
  REQUIRE(cut_otherwise > 0);
}

TEST_CASE("letters of a repeated sequence point to their successors in the first copy",
          "[analysis]") {
  const lm::Tokenizer t = tokenizer();
  const Probe probe = named(analysis::text_probes(t, small()), "character_induction");
  std::set<int32_t> distances;
  for (const ProbeQuery& query : probe.queries) {
    const lm::DecodedText text = text_of(t, probe, query.row);
    // Letters apart from their blanks, whichever tokens hold those.
    const auto letters_from = [&](int32_t position, size_t count) {
      std::string letters;
      for (size_t i = text.offsets[static_cast<size_t>(position)]; letters.size() < count; ++i) {
        letters += text.bytes[i] == ' ' ? "" : text.bytes.substr(i, 1);
      }
      return letters;
    };
    REQUIRE(letters_from(query.position + 1, 1) == letters_from(query.sources[0], 1));
    distances.insert(query.position - query.sources[0]);
  }
  REQUIRE(distances.size() > 1);
}

TEST_CASE("before a member of a series the answer is the member before it", "[analysis]") {
  const lm::Tokenizer t = tokenizer();
  const Probe probe = named(analysis::text_probes(t, small()), "successor");
  const std::map<std::string, std::string> follows = {{"Monday", "Tuesday"},
                                                      {"Sunday", "Monday"},
                                                      {"April", "May"},
                                                      {"December", "January"},
                                                      {"two", "three"},
                                                      {"fourth", "fifth"},
                                                      {"IV", "V"},
                                                      {"41", "42"},
                                                      {"G", "H"}};
  std::set<std::string> seen;
  for (const ProbeQuery& query : probe.queries) {
    const lm::DecodedText text = text_of(t, probe, query.row);
    std::string answer;
    for (const int32_t source : query.sources) {
      answer += token_in(text, source);
    }
    answer.erase(0, answer.find_first_not_of(' '));
    // The next member stands right behind the query, up to its colon.
    const size_t begin = text.offsets[static_cast<size_t>(query.position) + 1] + 1;
    const std::string next = text.bytes.substr(begin, text.bytes.find(':', begin) - begin);
    REQUIRE(text.bytes[begin - 2] == ';');
    if (std::all_of(answer.begin(), answer.end(), ::isdigit)) {
      REQUIRE(std::stoi(next) == std::stoi(answer) + 1);
      seen.insert("number");
    } else if (const auto known = follows.find(answer); known != follows.end()) {
      REQUIRE(next == known->second);
      seen.insert(answer);
    }
  }
  REQUIRE(seen.size() > 4);
}

TEST_CASE("a topic's answers are nouns far back", "[analysis]") {
  const lm::Tokenizer t = tokenizer();
  const Probe probe = named(analysis::text_probes(t, small()), "topic");
  const std::string medicine =
      "doctor hospital patient nurse surgery medicine fever clinic vaccine diagnosis";
  for (const ProbeQuery& query : probe.queries) {
    REQUIRE(query.position - query.sources.back() >= analysis::kFarTokens);
    REQUIRE(query.sources.size() >= 2);
  }
  const lm::DecodedText text = text_of(t, probe, 0);
  for (const int32_t source : probe.queries[0].sources) {
    const std::string token = token_in(text, source);
    REQUIRE(medicine.find(token.substr(token.find_first_not_of(' '))) != std::string::npos);
  }
}

TEST_CASE("arithmetic asks where the result is due, and answers with both operands' digits",
          "[analysis]") {
  const lm::Tokenizer t = tokenizer();
  const analysis::ArithmeticProbe arithmetic = analysis::arithmetic_probe(t, small());
  REQUIRE(arithmetic.operands == std::vector<int64_t>{0, 33, 66, 99});
  REQUIRE(arithmetic.probe.queries.size() == 3 * 16);
  size_t i = 0;
  for (const std::string& sign : arithmetic.signs) {
    for (const int64_t a : arithmetic.operands) {
      for (const int64_t b : arithmetic.operands) {
        const ProbeQuery& query = arithmetic.probe.queries[i++];
        const lm::DecodedText text = text_of(t, arithmetic.probe, query.row);
        const std::string prompt =
            text.bytes.substr(0, text.offsets[static_cast<size_t>(query.position) + 1]);
        const std::string expected = formatted("Question: What is {}{}{}?\nAnswer:", a, sign, b);
        REQUIRE(prompt.substr(prompt.size() - expected.size()) == expected);
        std::string digits;
        for (const int32_t source : query.sources) {
          digits += token_in(text, source);
        }
        digits.erase(std::remove(digits.begin(), digits.end(), ' '), digits.end());
        REQUIRE(digits == formatted("{}{}", a, b));
      }
    }
  }
}

}  // namespace lorsa
