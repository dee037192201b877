#include <algorithm>
#include <array>
#include <cctype>
#include <string>

#include "analysis/probe_rows.h"
#include "analysis/probes.h"

namespace lorsa::analysis {
namespace {

using Words = std::vector<std::string>;

// Words that belong to no series and no topic below, to stand between.
const Words kPlainWords = {"lamp",   "river",  "carpet", "window", "basket", "pepper", "gravel",
                           "candle", "ribbon", "ladder", "pillow", "bucket", "marble", "copper",
                           "shadow", "button", "cotton", "kettle", "saddle", "timber"};

struct Series {
  Words members;
  bool cyclic = false;
};

const std::vector<Series>& series() {
  static const std::vector<Series> all = [] {
    std::vector<Series> list = {
        {{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}, true},
        {{"January", "February", "March", "April", "May", "June", "July", "August", "September",
          "October", "November", "December"},
         true},
        {{"one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
          "twelve"},
         false},
        {{"first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth",
          "tenth"},
         false},
        {{"I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"}, false}};
    Series numbers;
    for (int number = 1; number < 100; ++number) {
      numbers.members.push_back(std::to_string(number));
    }
    Series letters;
    for (char letter = 'A'; letter <= 'Z'; ++letter) {
      letters.members.emplace_back(1, letter);
    }
    list.push_back(std::move(numbers));
    list.push_back(std::move(letters));
    return list;
  }();
  return all;
}

/// Nouns of a subject each.
const std::vector<Words>& topics() {
  static const std::vector<Words> all = {{"doctor", "hospital", "patient", "nurse", "surgery",
                                          "medicine", "fever", "clinic", "vaccine", "diagnosis"},
                                         {"ship", "sailor", "harbour", "captain", "anchor",
                                          "voyage", "storm", "deck", "island", "compass"},
                                         {"court", "judge", "lawyer", "verdict", "witness", "trial",
                                          "jury", "crime", "evidence", "prison"},
                                         {"guitar", "concert", "melody", "singer", "orchestra",
                                          "piano", "violin", "rhythm", "drum", "composer"},
                                         {"farmer", "harvest", "tractor", "wheat", "barn", "cattle",
                                          "orchard", "soil", "meadow", "seed"},
                                         {"planet", "telescope", "galaxy", "comet", "orbit",
                                          "astronaut", "rocket", "moon", "asteroid", "gravity"}};
  return all;
}

// Each takes two nouns of the topic.
const std::vector<std::array<std::string, 3>> kSentences = {
    {"Everyone had heard about the ", " before the ", " was mentioned again. "},
    {"It was said that the ", " could not be compared with the ", " at all. "},
    {"In the afternoon they spoke of the ", " and then of the ", " for an hour. "},
    {"Nobody knew whether the ", " or the ", " had come first. "},
    {"She wrote down what the ", " meant, and he added the ", " below. "}};

/// Three or four syllables: a word that no vocabulary holds as one token.
std::string nonsense_word(Draw& draw) {
  const std::string consonants = "bdfgklmnprstvz";
  const std::string vowels = "aeiou";
  const auto letter = [&](const std::string& of) {
    return of[static_cast<size_t>(draw.below(static_cast<int64_t>(of.size())))];
  };
  std::string word;
  const int64_t syllables = 3 + draw.below(2);
  for (int64_t i = 0; i < syllables; ++i) {
    word += letter(consonants);
    word += letter(vowels);
  }
  return word + letter(consonants);
}

Probe subtoken_induction(const lm::Tokenizer& tokenizer, const ProbeOptions& options) {
  Draw draw(options.seed, "subtoken induction");
  ProbeBuilder probe("subtoken_induction",
                     "the token that holds the word's next character in its first occurrence",
                     filler_token(tokenizer));
  // A word must have shown so many characters before the next one is asked for.
  constexpr size_t kShown = 3;
  for (int64_t r = 0; r < options.num_rows; ++r) {
    ProbeText text;
    Words words;
    std::vector<Span> first;
    std::vector<Span> again;
    for (int64_t i = 0; i < 8; ++i) {
      words.push_back(nonsense_word(draw));
      text.append(i == 0 ? "The " : " the ");
      first.push_back(text.append(words.back()));
      text.append(" and");
    }
    for (const std::string& word : words) {
      std::string other = word;
      const bool capital = draw.below(2) == 0;
      if (capital) {
        other[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(other[0])));
      }
      text.append(capital ? ". " : " (");
      again.push_back(text.append(other));
      text.append(capital ? " was" : ")");
    }
    const CutText cut(tokenizer, text.text());
    probe.start_row(cut.tokens());
    for (size_t w = 0; w < words.size(); ++w) {
      for (size_t shown = kShown; shown < words[w].size(); ++shown) {
        if (cut.is_cut_at(again[w].begin + shown)) {
          probe.ask(cut.token_at(again[w].begin + shown - 1),
                    {cut.token_at(first[w].begin + shown)});
        }
      }
    }
  }
  return probe.build();
}

Probe character_induction(const lm::Tokenizer& tokenizer, const ProbeOptions& options) {
  Draw draw(options.seed, "character induction");
  ProbeBuilder probe("character_induction",
                     "the letter that followed in the first copy of the sequence",
                     filler_token(tokenizer));
  // The letters that came just before tell the place, a single one comes several times.
  constexpr size_t kShown = 3;
  for (int64_t r = 0; r < options.num_rows; ++r) {
    const auto length = static_cast<size_t>(24 + draw.below(16));
    std::string letters;
    for (size_t i = 0; i < length; ++i) {
      letters += static_cast<char>('a' + draw.below(26));
    }
    ProbeText text;
    std::vector<Span> places;
    for (size_t i = 0; i < 2 * length; ++i) {
      text.append(i == 0 ? "" : " ");
      places.push_back(text.append(letters.substr(i % length, 1)));
    }
    const CutText cut(tokenizer, text.text());
    probe.start_row(cut.tokens());
    for (size_t i = kShown; i + 1 < length; ++i) {
      probe.ask(cut.token_at(places[length + i].begin), {cut.token_at(places[i + 1].begin)});
    }
  }
  return probe.build();
}

Probe successor(const lm::Tokenizer& tokenizer, const ProbeOptions& options) {
  Draw draw(options.seed, "successor");
  ProbeBuilder probe("successor", "the series' member before the one that comes next",
                     filler_token(tokenizer));
  constexpr int64_t kMembers = 9;
  for (const Series& kind : series()) {
    for (int64_t r = 0; r < std::max<int64_t>(1, options.num_rows / 4); ++r) {
      const auto size = static_cast<int64_t>(kind.members.size());
      const int64_t length = std::min(kMembers, size);
      const int64_t start = kind.cyclic ? draw.below(size) : draw.below(size - length + 1);
      ProbeText text;
      std::vector<Span> members;
      std::vector<size_t> ends;  // of what stands before each member
      for (int64_t i = 0; i < length; ++i) {
        ends.push_back(text.text().size());
        text.append(i == 0 ? "" : " ");
        members.push_back(text.append(kind.members[static_cast<size_t>((start + i) % size)]));
        text.append(":");
        const int64_t between = 1 + draw.below(3);
        for (int64_t w = 0; w < between; ++w) {
          text.append(" " + draw.from(kPlainWords));
        }
        text.append(";");
      }
      const CutText cut(tokenizer, text.text());
      probe.start_row(cut.tokens());
      // Two members show the series.
      for (size_t i = 2; i < members.size(); ++i) {
        std::vector<int32_t> sources;
        cut.add_tokens(members[i - 1], sources);
        probe.ask(cut.token_at(ends[i] - 1), std::move(sources));
      }
    }
  }
  return probe.build();
}

Probe topic(const lm::Tokenizer& tokenizer, const ProbeOptions& options) {
  Draw draw(options.seed, "topic");
  ProbeBuilder probe("topic", "nouns of the text's subject at least 32 tokens back",
                     filler_token(tokenizer));
  constexpr int64_t kNumSentences = 14;
  for (int64_t r = 0; r < options.num_rows; ++r) {
    Words nouns = topics()[static_cast<size_t>(r) % topics().size()];
    draw.shuffle(nouns);
    ProbeText text;
    std::vector<Span> places;
    for (int64_t i = 0; i < kNumSentences; ++i) {
      const auto& sentence = draw.from(kSentences);
      text.append(sentence[0]);
      places.push_back(text.append(draw.from(nouns)));
      text.append(sentence[1]);
      places.push_back(text.append(draw.from(nouns)));
      text.append(sentence[2]);
    }
    const CutText cut(tokenizer, text.text());
    probe.start_row(cut.tokens());
    std::vector<int32_t> far;
    for (const Span& place : places) {
      cut.add_tokens(place, far);
    }
    const auto size = static_cast<int32_t>(cut.tokens().size());
    for (int32_t position = size / 2; position < size; ++position) {
      std::vector<int32_t> sources;
      std::copy_if(far.begin(), far.end(), std::back_inserter(sources),
                   [&](int32_t source) { return source + kFarTokens <= position; });
      probe.ask(position, std::move(sources));
    }
  }
  return probe.build();
}

}  // namespace

std::vector<Probe> text_probes(const lm::Tokenizer& tokenizer, const ProbeOptions& options) {
  return {subtoken_induction(tokenizer, options), character_induction(tokenizer, options),
          successor(tokenizer, options), topic(tokenizer, options)};
}

ArithmeticProbe arithmetic_probe(const lm::Tokenizer& tokenizer, const ProbeOptions& options) {
  ArithmeticProbe out;
  out.signs = {"+", "-", "*"};
  constexpr int64_t kNumbers = 100;
  const int64_t count = std::clamp<int64_t>(options.num_operands, 2, kNumbers);
  for (int64_t i = 0; i < count; ++i) {
    out.operands.push_back(i * (kNumbers - 1) / (count - 1));
  }
  ProbeBuilder probe("arithmetic", "the digits of both operands", filler_token(tokenizer));
  for (const std::string& sign : out.signs) {
    for (const int64_t a : out.operands) {
      for (const int64_t b : out.operands) {
        ProbeText text;
        text.append("Question: What is ");
        const Span left = text.append(std::to_string(a));
        text.append(sign);
        const Span right = text.append(std::to_string(b));
        // Some tokens lie between, so that a head that reads the token before is not counted.
        text.append("?\nAnswer:");
        const CutText cut(tokenizer, text.text());
        probe.start_row(cut.tokens());
        std::vector<int32_t> sources;
        cut.add_tokens(left, sources);
        cut.add_tokens(right, sources);
        probe.ask(cut.token_at(text.text().size() - 1), std::move(sources));
      }
    }
  }
  out.probe = probe.build();
  return out;
}

}  // namespace lorsa::analysis
