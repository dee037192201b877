#include <algorithm>
#include <chrono>
#include <thread>

#include "lorsa/core/error.h"
#include "support/test.h"
#include "tokenizer_folder.h"

namespace lorsa::lm {
namespace {

using Catch::Matchers::Contains;
using io::Json;
using Ids = std::vector<int32_t>;

Tokenizer gpt2() {
  return Tokenizer(test::golden("tokenizer/gpt2"));
}

std::string repeated(const std::string& unit, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    text += unit;
  }
  return text;
}

double seconds_to_encode(const Tokenizer& tokenizer, const std::string& text) {
  const auto start = std::chrono::steady_clock::now();
  const Ids ids = tokenizer.encode(text, SpecialTokens::kNone);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  REQUIRE(tokenizer.decode(ids) == text);
  return seconds.count();
}

TEST_CASE("decode gives back the bytes of any text", "[lm]") {
  for (const char* name : {"gpt2", "llama3"}) {
    const Tokenizer tokenizer(test::golden("tokenizer/" + std::string(name)));
    for (const Json& entry : io::read_json(test::golden("tokenizer/gpt2_cases.json"))) {
      const auto text = entry[0].get<std::string>();
      CAPTURE(entry[0].dump(-1, ' ', true));
      CHECK(tokenizer.decode(tokenizer.encode(text, SpecialTokens::kNone)) == text);
    }
  }
}

TEST_CASE("decode of single tokens joins to characters that were cut", "[lm]") {
  const Tokenizer tokenizer = gpt2();
  const std::string text = "\xf0\x9f\xa4\xb7";
  const Ids ids = tokenizer.encode(text, SpecialTokens::kNone);
  REQUIRE(ids.size() > 1);
  std::string joined;
  for (const int32_t id : ids) {
    joined += tokenizer.decode({id});
  }
  CHECK(joined == text);
  CHECK(tokenizer.token_text(ids[0]).find("\xef\xbf\xbd") != std::string::npos);
}

TEST_CASE("decode_with_offsets says where every token lies", "[lm]") {
  const Tokenizer tokenizer = gpt2();
  const std::string text = "na\u00efve \U0001f600<|endoftext|> x";
  const auto ids = tokenizer.encode(text, SpecialTokens::kNone);
  const DecodedText decoded = tokenizer.decode_with_offsets(ids);
  CHECK(decoded.bytes == text);
  REQUIRE(decoded.offsets.size() == ids.size() + 1);
  CHECK(decoded.offsets.front() == 0);
  CHECK(decoded.offsets.back() == text.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    CHECK(decoded.bytes.substr(decoded.offsets[i], decoded.offsets[i + 1] - decoded.offsets[i]) ==
          tokenizer.decode({ids[i]}));
  }
  CHECK(tokenizer.decode_with_offsets({}).offsets == std::vector<size_t>{0});
}

TEST_CASE("ids without a token are refused by decode and shown by token_text", "[lm]") {
  const Tokenizer tokenizer = gpt2();
  const auto size = static_cast<int32_t>(tokenizer.vocabulary_size());
  CHECK_THROWS_AS(tokenizer.decode({size}), FormatError);
  CHECK_THROWS_AS(tokenizer.decode({-1}), FormatError);
  CHECK(tokenizer.token_text(size) == formatted("[{}]", size));
  CHECK(tokenizer.token_text(tokenizer.id_of("Ġthe").value()) == " the");
  CHECK_FALSE(tokenizer.id_of("no such token").has_value());
}

TEST_CASE("ordinary ids are those with a token that is not an added one", "[lm]") {
  const Tokenizer tokenizer = gpt2();
  const Ids ids = tokenizer.ordinary_ids();
  CHECK(std::is_sorted(ids.begin(), ids.end()));
  CHECK(static_cast<int64_t>(ids.size()) < tokenizer.vocabulary_size());
  const auto has = [&](const std::string& token) {
    return std::binary_search(ids.begin(), ids.end(), tokenizer.id_of(token).value());
  };
  CHECK(has("\u0120the"));
  CHECK_FALSE(has("<|endoftext|>"));
}

TEST_CASE("invalid UTF-8 is refused with the offset of its first byte", "[lm]") {
  const Tokenizer tokenizer = gpt2();
  const std::pair<std::string, int> cases[] = {
      {"abc\xff", 3},                           // no lead byte
      {"\x80", 0},                              // a tail alone
      {"0123456789\xc3", 10},                   // cut
      {"\xe4\xbd\xa0\xe4\xbd", 3},              // cut
      {"a\xc0\xaf", 1},                         // overlong
      {"a\xe0\x80\xaf", 1},                     // overlong
      {"a\xed\xa0\x80", 1},                     // surrogate
      {"a\xf4\x90\x80\x80", 1},                 // beyond U+10FFFF
      {"ok \xf0\x9f\x98\x80 \xf0\x9f\x98 ", 8}  // cut in the middle
  };
  for (const auto& [text, offset] : cases) {
    CAPTURE(offset);
    CHECK_THROWS_WITH(tokenizer.encode(text, SpecialTokens::kNone),
                      Contains(formatted("byte {}:", offset)));
    CHECK_THROWS_AS(tokenizer.encode(text, SpecialTokens::kNone), FormatError);
  }
}

TEST_CASE("many threads encode with one tokenizer", "[lm]") {
  const Tokenizer tokenizer(test::golden("tokenizer/llama3"));
  const Json cases = io::read_json(test::golden("tokenizer/llama3_cases.json"));
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (int& mistakes : wrong) {
    threads.emplace_back([&] {
      for (const Json& entry : cases) {
        const auto ids = tokenizer.encode(entry[0].get<std::string>(), SpecialTokens::kAdd);
        mistakes += ids == entry[2].get<Ids>() ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(wrong == std::vector<int>(4, 0));
}

TEST_CASE("time grows linearly with runs of one class", "[lm]") {
  const Tokenizer tokenizers[] = {gpt2(), Tokenizer(test::golden("tokenizer/llama3"))};
  for (const Tokenizer& tokenizer : tokenizers) {
    for (const char* unit :
         {"a", " ", "\n", "1", ".", "\xc3\xa9", "\xe7\x9a\x84", " \n", "\xe1\xa0\x8e", "'s"}) {
      CAPTURE(unit);
      const size_t count = 250'000 / std::string(unit).size();
      const double part = seconds_to_encode(tokenizer, repeated(unit, count));
      const double whole = seconds_to_encode(tokenizer, repeated(unit, 8 * count));
      // Quadratic time would be 64-fold and take minutes; the margin is for a busy machine.
      CHECK(whole < 24 * part + 0.5);
    }
  }
}

TEST_CASE("the end-of-text token serves as BOS of a model without one", "[lm]") {
  const Tokenizer tokenizer = gpt2();
  REQUIRE(tokenizer.id_of("<|endoftext|>").has_value());
  CHECK(tokenizer.bos_id() == tokenizer.id_of("<|endoftext|>"));
  CHECK(tokenizer.eos_id() == tokenizer.id_of("<|endoftext|>"));
}

}  // namespace
}  // namespace lorsa::lm
