// Ids against those of the `tokenizers` package (scripts/golden/tokenizer.py).
#include <chrono>
#include <fstream>

#include "support/test.h"
#include "tokenizer_folder.h"

namespace lorsa::lm {
namespace {

using io::Json;
using Ids = std::vector<int32_t>;

void check_cases(const Tokenizer& tokenizer, const Json& cases) {
  REQUIRE(cases.size() > 5);
  for (const Json& entry : cases) {
    const auto text = entry[0].get<std::string>();
    CAPTURE(entry[0].dump(-1, ' ', true));
    CHECK(tokenizer.encode(text, SpecialTokens::kNone) == entry[1].get<Ids>());
    CHECK(tokenizer.encode(text, SpecialTokens::kAdd) == entry[2].get<Ids>());
  }
}

Json cases_of(const std::string& name) {
  return io::read_json(test::golden("tokenizer/" + name + "_cases.json"));
}

TEST_CASE("a GPT-2 style tokenizer gives the tokenizers package's ids", "[lm]") {
  check_cases(Tokenizer(test::golden("tokenizer/gpt2")), cases_of("gpt2"));
}

TEST_CASE("a Llama-3 style tokenizer gives the tokenizers package's ids", "[lm]") {
  const Tokenizer tokenizer(test::golden("tokenizer/llama3"));
  check_cases(tokenizer, cases_of("llama3"));
  const int32_t bos = tokenizer.id_of("<|begin_of_text|>").value();
  CHECK(tokenizer.encode("", SpecialTokens::kAdd) == Ids{bos});
  CHECK(tokenizer.bos_id() == bos);
}

TEST_CASE("SmolLM2's tokenizer gives the tokenizers package's ids", "[lm]") {
  const Tokenizer tokenizer(test::folder_in_environment("LORSA_TEST_MODEL"));
  check_cases(tokenizer, cases_of("smollm2"));
  CHECK(tokenizer.vocabulary_size() == 49152);
  CHECK(tokenizer.bos_id() == 0);
  CHECK(tokenizer.eos_id() == 0);
}

TEST_CASE("every setting of the variants gives the tokenizers package's ids", "[lm]") {
  const Json variants = io::read_json(test::golden("tokenizer/variants.json"));
  REQUIRE(variants.size() > 20);
  for (const Json& variant : variants) {
    CAPTURE(variant[0]);
    Json tokenizer = test::golden_tokenizer("gpt2");
    tokenizer.merge_patch(variant[1]);
    check_cases(test::TokenizerFolder(tokenizer).load(), variant[2]);
  }
}

TEST_CASE("a text is brought into normal form C where the tokenizers package does it", "[lm]") {
  const Json variants = io::read_json(test::golden("tokenizer/nfc.json"));
  REQUIRE(variants.size() == 5);
  for (const Json& variant : variants) {
    CAPTURE(variant[0]);
    Json tokenizer = test::golden_tokenizer(variant[1].get<std::string>());
    tokenizer.merge_patch(variant[2]);
    check_cases(test::TokenizerFolder(tokenizer).load(), variant[3]);
  }
}

// Run by scripts/golden/compare_tokenizer.py, which makes the strings and compares the ids.
TEST_CASE("ids of many strings for a comparison", "[.][compare]") {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    REQUIRE(value != nullptr);
    return std::string(value);
  };
  const Tokenizer tokenizer(test::folder_in_environment("LORSA_COMPARE_TOKENIZER"));
  std::ifstream in(variable("LORSA_COMPARE_TEXTS"));
  std::ofstream out(variable("LORSA_COMPARE_IDS"));
  std::string line;
  while (std::getline(in, line)) {
    const auto text = Json::parse(line).get<std::string>();
    const auto start = std::chrono::steady_clock::now();
    const Ids ids = tokenizer.encode(text, SpecialTokens::kAdd);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    out << Json{{"ids", ids}, {"seconds", seconds.count()}} << '\n';
  }
  out.close();
  REQUIRE(out.good());
}

}  // namespace
}  // namespace lorsa::lm
