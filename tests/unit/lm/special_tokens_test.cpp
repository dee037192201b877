// BOS, EOS and PAD against those of transformers (scripts/golden/special_tokens.py), and what is
// said where a folder's files disagree.
#include <algorithm>
#include <map>
#include <optional>

#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/io/files.h"
#include "support/test.h"
#include "tokenizer_folder.h"

namespace lorsa::lm {
namespace {

using Catch::Matchers::Contains;
using io::Json;
using Ids = std::vector<int32_t>;

/// A copy of the tiny folder: ids 0 to 5 are <unk>, <filler>, <spare>, <|bos|>, <|eos|>, <|pad|>,
/// and its files agree.
class TinyFolder {
 public:
  TinyFolder() : folder_(read("tokenizer.json")) {
    for (const char* name : {"config.json", "tokenizer_config.json"}) {
      folder_.write(name, read(name));
    }
  }

  /// Sets (null: as null) and removes keys of a file, which need not be there.
  void change(const std::string& name,
              const Json& set,
              const std::vector<std::string>& removed = {}) {
    Json json = files_.contains(name) ? files_[name] : Json::object();
    for (const auto& [key, value] : set.items()) {
      json[key] = value;
    }
    for (const std::string& key : removed) {
      json.erase(key);
    }
    files_[name] = json;
    folder_.write(name, json);
  }

  [[nodiscard]] Tokenizer load() const { return folder_.load(); }

  /// What loading it logs.
  [[nodiscard]] std::string said() const {
    const test::TempDir dir;
    {
      const LogFile log(dir / "log.txt");
      static_cast<void>(load());
    }
    return io::read_file(dir / "log.txt");
  }

 private:
  Json read(const std::string& name) {
    files_[name] = io::read_json(test::golden("special_tokens/base/" + name));
    return files_[name];
  }

  std::map<std::string, Json> files_;
  test::TokenizerFolder folder_;
};

size_t lines_with(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

TEST_CASE("special ids are those of transformers, whatever the model's files say", "[lm]") {
  const Json cases = io::read_json(test::golden("special_tokens/cases.json"));
  REQUIRE(cases.size() > 15);
  for (const Json& entry : cases) {
    CAPTURE(entry["name"]);
    TinyFolder folder;
    for (const auto& [file, set] : entry["set"].items()) {
      folder.change(file + ".json", set);
    }
    for (const auto& [file, keys] : entry["remove"].items()) {
      folder.change(file + ".json", Json::object(), keys.get<std::vector<std::string>>());
    }
    const std::string said = folder.said();
    const Tokenizer tokenizer = folder.load();
    const auto check = [&](const char* name, std::optional<int32_t> found) {
      CAPTURE(name, said);
      if (entry[name].is_null()) {  // what serves then is our choice, but it is said
        CHECK(found.has_value());
        CHECK_THAT(said, Contains(formatted("{}_token: ", name)));
      } else {
        CHECK(found == entry[name].get<int32_t>());
      }
    };
    check("bos", tokenizer.bos_id());
    check("eos", tokenizer.eos_id());
    check("pad", tokenizer.pad_id());
    const std::string text = "<|bos|>ab<|eos|>";
    CHECK(tokenizer.encode(text, SpecialTokens::kAdd) == entry["ids"].get<Ids>());
    CHECK(tokenizer.encode(text, SpecialTokens::kNone) == entry["plain_ids"].get<Ids>());
  }
}

TEST_CASE("nothing is said of a folder whose files agree", "[lm]") {
  TinyFolder folder;
  CHECK(folder.said().empty());
  // Llama-3.1-Instruct: three ends, of which the tokenizer's is one.
  folder.change("config.json", {{"eos_token_id", {2, 1, 4}}, {"bos_token_id", 3.0}});
  folder.change("generation_config.json", {{"eos_token_id", {4, 1}}, {"pad_token_id", nullptr}});
  CHECK(folder.said().empty());
  // The model's own end is one of those that end a generation, as the tokenizer's is.
  folder.change("config.json", {{"eos_token_id", 1}, {"pad_token_id", -1}});
  CHECK(folder.said().empty());
}

TEST_CASE("every id of an eos list is unscored and no ordinary one", "[lm]") {
  TinyFolder folder;
  CHECK(folder.load().unscored_ids() == Ids{3, 4, 5});
  folder.change("config.json", {{"eos_token_id", {2, 4}}});
  folder.change("generation_config.json", {{"eos_token_id", {4, 100}}});
  CHECK(folder.load().unscored_ids() == Ids{2, 3, 4, 5, 100});
  const Ids ordinary = folder.load().ordinary_ids();
  CHECK_FALSE(std::binary_search(ordinary.begin(), ordinary.end(), 100));
  CHECK(std::binary_search(ordinary.begin(), ordinary.end(), 101));
  // Through one another: 1 ends a generation like 4.
  folder.change("config.json", {{"eos_token_id", {1, 2}}});
  folder.change("generation_config.json", {{"eos_token_id", {1, 4}}});
  CHECK(folder.load().unscored_ids() == Ids{1, 2, 3, 4, 5});
  // A list that has nothing to do with the tokenizer's end is a contradiction and does not count.
  folder.change("generation_config.json", {{"eos_token_id", 4}});
  CHECK(folder.load().unscored_ids() == Ids{3, 4, 5});
  folder.change("tokenizer_config.json", {{"pad_token", "<|eos|>"}});
  CHECK(folder.load().unscored_ids() == Ids{3, 4});
}

TEST_CASE("a contradiction is a warning with both files, keys, ids and texts, once", "[lm]") {
  TinyFolder folder;
  folder.change("config.json", {{"bos_token_id", 1}, {"eos_token_id", 2}, {"pad_token_id", 900}});
  const std::string said = folder.said();
  CHECK(lines_with(said, "contradicts") == 3);
  CHECK_THAT(said, Contains("config.json: bos_token_id = 1 (\"<filler>\") contradicts "));
  CHECK_THAT(said, Contains("tokenizer_config.json: bos_token = 3 (\"<|bos|>\"), which counts"));
  CHECK_THAT(said, Contains("config.json: eos_token_id = 2 (\"<spare>\") contradicts "));
  CHECK_THAT(said, Contains("pad_token_id = 900 (outside the vocabulary of 262) contradicts "));
  CHECK(folder.said().empty());

  TinyFolder own;
  own.change("special_tokens_map.json", {{"eos_token", "<spare>"}, {"pad_token", "[absent]"}});
  own.change("tokenizer_config.json", {{"added_tokens_decoder", Json::object()}});
  const std::string of_own = own.said();
  CHECK(lines_with(of_own, "contradicts") == 2);
  CHECK_THAT(of_own, Contains("special_tokens_map.json: eos_token = 2 (\"<spare>\") contradicts"));
  CHECK_THAT(of_own, Contains("pad_token = \"[absent]\" (not in the vocabulary) contradicts"));

  TinyFolder around;
  around.change("tokenizer_config.json", {{"bos_token", "<filler>"}});
  around.change("config.json", {{"bos_token_id", 1}});
  CHECK_THAT(around.said(),
             Contains("post_processor: the template's tokens before a text = 3 (\"<|bos|>\") "
                      "contradicts "));
}

TEST_CASE("what the tokenizer's files leave open comes from elsewhere, and that is said", "[lm]") {
  const std::vector<std::string> all = {"bos_token", "eos_token", "pad_token"};
  TinyFolder template_only;
  template_only.change("tokenizer_config.json", Json::object(), all);
  template_only.change("config.json", {{"bos_token_id", 1}});
  CHECK(template_only.load().bos_id() == 3);  // what every text gets

  TinyFolder model;
  model.change("tokenizer_config.json", {{"bos_token", nullptr}, {"add_bos_token", true}}, all);
  model.change("tokenizer.json", {{"post_processor", nullptr}});
  model.change("config.json", {{"eos_token_id", {2, 4}}});
  model.change("generation_config.json", {{"bos_token_id", 1}, {"pad_token_id", 0}});
  const std::string said = model.said();
  CHECK(model.load().bos_id() == 3);
  CHECK(model.load().eos_id() == 2);
  CHECK(model.load().pad_id() == 0);
  CHECK_THAT(said, Contains("name no bos_token: ") &&
                       Contains("config.json: bos_token_id = 3 (\"<|bos|>\") counts"));
  CHECK_THAT(said, Contains("generation_config.json: bos_token_id = 1 (\"<filler>\") contradicts"));
  CHECK_THAT(said, Contains("add_bos_token = true, but the tokenizer's files name no bos_token"));

  const test::TokenizerFolder names(test::golden_tokenizer("llama3"));
  const test::TempDir dir;
  std::optional<Tokenizer> tokenizer;
  {
    const LogFile log(dir / "log.txt");
    tokenizer = names.load();
  }
  CHECK(tokenizer->bos_id() == tokenizer->id_of("<|begin_of_text|>"));  // of the template
  CHECK(tokenizer->eos_id() == tokenizer->id_of("<|end_of_text|>"));
  CHECK_FALSE(tokenizer->pad_id().has_value());
  CHECK_THAT(io::read_file(dir / "log.txt"),
             Contains("no file names eos_token: 1503 (\"<|end_of_text|>\") counts, by its usual"));
}

TEST_CASE("special tokens that the vocabulary lacks are refused where they would count", "[lm]") {
  const auto refusal = [](const std::string& file, const Json& set,
                          const std::vector<std::string>& names) {
    TinyFolder folder;
    folder.change("tokenizer_config.json", Json::object(), names);
    folder.change(file, set);
    try {
      static_cast<void>(folder.load());
    } catch (const FormatError& error) {
      return std::string(error.what());
    }
    return std::string("nothing was refused");
  };
  CHECK_THAT(refusal("tokenizer_config.json", {{"bos_token", "<none>"}}, {}),
             Contains("tokenizer_config.json: bos_token: \"<none>\" is not in the vocabulary"));
  CHECK_THAT(refusal("tokenizer_config.json", {{"eos_token", {{"content", "<none>"}}}}, {}),
             Contains("eos_token: \"<none>\""));
  CHECK_THAT(refusal("tokenizer_config.json", {{"pad_token", 5}}, {}),
             Contains("pad_token: expected a token, found 5"));
  CHECK_THAT(
      refusal("config.json", {{"eos_token_id", 262}}, {"eos_token"}),
      Contains("config.json: eos_token_id: expected an id below the vocabulary's 262, found 262"));
  CHECK_THAT(refusal("config.json", {{"eos_token_id", {4, 262}}}, {}), Contains("found 262"));
  CHECK_THAT(refusal("config.json", {{"eos_token_id", "</s>"}}, {}),
             Contains("config.json: eos_token_id: expected an id, found \"</s>\""));
  CHECK_THAT(refusal("generation_config.json", {{"pad_token_id", 1.5}}, {}),
             Contains("generation_config.json: pad_token_id: expected an id, found 1.5"));
}

TEST_CASE("added tokens that tokenizer_config.json states otherwise are named", "[lm]") {
  TinyFolder folder;
  const auto token = [](const char* content, bool left) {
    return Json{{"content", content}, {"lstrip", left}, {"normalized", false}, {"special", true}};
  };
  Json same = Json::object();
  same["3"] = token("<|bos|>", false);
  same["5"] = token("<|pad|>", false);
  folder.change("tokenizer_config.json", {{"added_tokens_decoder", same}});
  CHECK(folder.said().empty());
  Json other = Json::object();
  other["3"] = token("<|bos|>", true);
  other["4"] = token("<|pad|>", false);
  other["106"] = token("d", false);
  folder.change("tokenizer_config.json", {{"added_tokens_decoder", other}});
  CHECK_THAT(folder.said(),
             Contains("tokenizer_config.json: added_tokens_decoder contradicts added_tokens of "
                      "tokenizer.json, which counts here: \"<|bos|>\" has lstrip true") &&
                 Contains("4 is \"<|pad|>\", 5 there") &&
                 Contains("106 is \"d\", no added token there"));
}

}  // namespace
}  // namespace lorsa::lm
