// What is not supported is refused by name: a tokenizer that is nearly right gives wrong ids.
#include <utility>

#include "lm/split_pattern.h"
#include "lorsa/core/error.h"
#include "support/test.h"
#include "tokenizer_folder.h"

namespace lorsa::lm {
namespace {

using Catch::Matchers::Contains;
using io::Json;

// Patches the GPT-2 style tokenizer (JSON merge patch) and loads it.
void load_patched(const std::string& patch) {
  Json tokenizer = test::golden_tokenizer("gpt2");
  tokenizer.merge_patch(Json::parse(patch));
  (void)test::TokenizerFolder(tokenizer).load();
}

TEST_CASE("settings that are not supported are refused by name", "[lm]") {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"normalizer": {"type": "NFKC"}})", "NFKC"},
      {R"({"normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}})",
       "Lowercase"},
      {R"({"pre_tokenizer": {"type": "Metaspace"}})", "Metaspace"},
      {R"({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
           {"type": "ByteLevel", "add_prefix_space": false}, {"type": "Digits", "individual_digits": true}]}})",
       "Digits"},
      {R"({"post_processor": {"type": "RobertaProcessing"}})", "RobertaProcessing"},
      {R"({"decoder": {"type": "Metaspace"}})", "Metaspace"},
      {R"({"decoder": null})", "decoder"},
      {R"({"model": {"type": "Unigram"}})", "Unigram"},
      {R"({"model": {"dropout": 0.1}})", "dropout"},
      {R"({"model": {"byte_fallback": true}})", "byte_fallback"},
      {R"({"model": {"continuing_subword_prefix": "##"}})", "continuing_subword_prefix"},
      {R"({"model": {"end_of_word_suffix": "</w>"}})", "end_of_word_suffix"},
      {R"({"model": {"unk_token": "a", "vocab": {"\u0104": null}, "merges": []}})", "unk_token"},
      {R"({"added_tokens": [{"id": 0, "content": "<|endoftext|>", "single_word": true}]})",
       "single_word"},
      {R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\s"}, "behavior": "Sideways"}})",
       "Sideways"}};
  for (const auto& [patch, name] : cases) {
    CAPTURE(patch);
    CHECK_THROWS_AS(load_patched(patch), FormatError);
    CHECK_THROWS_WITH(load_patched(patch), Contains(name) && Contains("tokenizer.json"));
  }
}

TEST_CASE("settings that say they are off are accepted", "[lm]") {
  CHECK_NOTHROW(
      load_patched(R"({"model": {"dropout": 0.0, "byte_fallback": false, "end_of_word_suffix": "",
                                           "unk_token": "<|endoftext|>"},
                                 "normalizer": {"type": "Sequence", "normalizers": []}})"));
}

TEST_CASE("vocabularies and merges that do not fit are refused", "[lm]") {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"model": {"vocab": {"new": 1}}})", "same id"},
      {R"({"model": {"vocab": {"new": -1}}})", "-1"},
      {R"({"model": {"vocab": {"new": "x"}}})", "expected an id"},
      {R"({"model": {"vocab": {"new": 99999999999}}})", "99999999999"},
      {R"({"model": {"vocab": []}})", "vocab"},
      {R"({"model": {"merges": ["a  b"]}})", "merges[0]"},
      {R"({"model": {"merges": [["a", "b", "c"]]}})", "merges[0]"},
      {R"({"model": {"merges": ["a \u4e2d"]}})", "merges[0]"},
      {R"({"model": {"merges": ["q z"]}})", "qz"},
      {R"({"model": {"merges": null}})", "merges"},
      {R"({"added_tokens": [{"id": 17, "content": "<|endoftext|>"}]})", "<|endoftext|>"},
      {R"({"added_tokens": [{"id": 12345, "content": "<new>"}]})", "expected id"},
      {R"({"added_tokens": [{"id": 0, "content": ""}]})", "content"},
      {R"({"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}],
           "special_tokens": {}}})",
       "<s>"},
      {R"({"post_processor": {"type": "TemplateProcessing", "special_tokens": {}, "single": []}})",
       "\"A\""},
      {R"({"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}},
           {"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {"x": {"id": "x", "ids": [70000], "tokens": ["x"]}}}})",
       "70000"}};
  for (const auto& [patch, name] : cases) {
    CAPTURE(patch);
    CHECK_THROWS_AS(load_patched(patch), FormatError);
    CHECK_THROWS_WITH(load_patched(patch), Contains(name) && Contains("tokenizer.json"));
  }
}

TEST_CASE("a folder without tokenizer.json is an IoError that names the file", "[lm]") {
  const test::TempDir folder;
  CHECK_THROWS_AS(Tokenizer(folder.path()), IoError);
  CHECK_THROWS_WITH(Tokenizer(folder.path()), Contains("tokenizer.json"));
}

TEST_CASE("regex constructs that engines read differently are refused", "[lm]") {
  const char* patterns[] = {R"(^a)",
                            R"(a$)",
                            R"(\bword\b)",
                            R"(\w+)",
                            R"(\h)",
                            R"(\x41)",
                            R"(\u0041)",
                            R"(\v)",
                            R"(a{1,3}+)",
                            R"(a{3}?)",
                            R"(a{,3})",
                            R"([a[b]])",
                            R"([[:alpha:]])",
                            R"([a&&b])",
                            R"((?i)a)",
                            R"((?<name>a))",
                            R"((*UCP)a)",
                            R"(\p{Han})",
                            R"(\p{^L})",
                            R"(\pL)",
                            R"((?i:\p{Lu}))",
                            R"((?i:ss))",
                            "(?i:\xc3\xa9)",
                            R"([\s-a])",
                            R"([]a])",
                            R"([a)",
                            R"(a))",
                            R"((a)",
                            R"(\)",
                            R"(*a)",
                            "\xe1\xa0\x8e",
                            "[\xe4\xb8\x80-\xf0\xb0\x80\x80]",
                            ""};
  for (const char* pattern : patterns) {
    CAPTURE(pattern);
    CHECK_THROWS_AS(SplitPattern(pattern, SplitPattern::Kind::kRegex, "here"), FormatError);
    CHECK_THROWS_WITH(SplitPattern(pattern, SplitPattern::Kind::kRegex, "here"), Contains("here"));
  }
}

TEST_CASE("patterns in use are accepted", "[lm]") {
  const char* patterns[] = {
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
      R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?| ?[^\s\p{L}\p{N}]+[\r\n/]*)",
      "[\xe4\xb8\x80-\xe9\xbe\xa5\xe3\x81\x80-\xe3\x82\x9f]+",
      R"(\p{N}{1,3})",
      R"([a\]\-b-])",
      R"(\\|\.|\$)"};
  for (const char* pattern : patterns) {
    CAPTURE(pattern);
    CHECK_NOTHROW(SplitPattern(pattern, SplitPattern::Kind::kRegex, "here"));
  }
}

TEST_CASE("a repeated group over a long text does not run out of stack", "[lm]") {
  const SplitPattern pattern("(?:a|b(?=[ab]))*c", SplitPattern::Kind::kRegex, "here");
  std::string text;
  for (int i = 0; i < 300'000; ++i) {
    text += "ab";
  }
  text += "ac";
  MatchBuffer buffer;
  Match match{};
  REQUIRE(pattern.find(text, 0, buffer, match));
  CHECK(match.begin == 0);
  CHECK(match.end == text.size());
}

}  // namespace
}  // namespace lorsa::lm
