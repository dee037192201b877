// The tokenizer's own files come before the model's: config.json says what the model was configured
// with, often its class' defaults, and transformers' tokenizers never look at it
// (scripts/golden/special_tokens.py).
#include "lm/special_tokens.h"

#include <algorithm>
#include <initializer_list>
#include <set>
#include <utility>

#include "lm/config_fields.h"
#include "lorsa/core/error.h"

namespace lorsa::lm {
namespace {

using io::Json;

/// What one key of one file says.
struct Statement {
  std::string where;              // "model/config.json: eos_token_id"
  std::vector<int64_t> ids;       // as they stand there, perhaps outside the vocabulary
  std::string unknown_text = {};  // a token that the vocabulary lacks; `ids` is empty then
};

using Statements = std::vector<Statement>;

bool holds(const Statement& statement, int64_t id) {
  return std::find(statement.ids.begin(), statement.ids.end(), id) != statement.ids.end();
}

std::string id_text(int64_t id, const Vocabulary& vocabulary) {
  return id < vocabulary.size
             ? formatted("{} (\"{}\")", id, vocabulary.text_of(static_cast<int32_t>(id)))
             : formatted("{} (outside the vocabulary of {})", id, vocabulary.size);
}

/// "model/config.json: eos_token_id = 2 ("</s>")", of a list all of it.
std::string text_of(const Statement& statement, const Vocabulary& vocabulary) {
  if (!statement.unknown_text.empty()) {
    return formatted("{} = {} (not in the vocabulary)", statement.where, statement.unknown_text);
  }
  std::string list;
  for (const int64_t id : statement.ids) {
    list += formatted("{}{}", list.empty() ? "" : ", ", id_text(id, vocabulary));
  }
  return formatted("{} = {}", statement.where, list);
}

/// One of the folder's files; empty where it is not there.
struct NamedJson {
  NamedJson(const std::filesystem::path& folder, const char* name)
      : path((folder / name).string()),
        json(std::filesystem::exists(folder / name) ? io::read_json(folder / name)
                                                    : Json::object()) {
    LORSA_CHECK(json.is_object(), FormatError, "{}: expected an object", path);
  }

  std::string path;
  Json json;
};

/// Members such as bos_token: text, or an object with the text as content.
void add_token(const Json& object,
               const std::string& key,
               const std::string& where,
               const Vocabulary& vocabulary,
               Statements& found) {
  const std::string here = formatted("{}: {}", where, key);
  auto value = io::member_or<Json>(object, key, where, nullptr);
  if (value.is_object()) {
    value = Json(io::member<Json>(value, "content", here));
  }
  if (value.is_null()) {
    return;
  }
  LORSA_CHECK(value.is_string(), FormatError, "{}: expected a token, found {}", here, value.dump());
  const auto id = vocabulary.id_of(value.get<std::string>());
  found.push_back(id ? Statement{here, {*id}} : Statement{here, {}, value.dump()});
}

/// Members such as eos_token_id: a number, a list of them, null, or a negative number for none.
void add_ids(const NamedJson& file, const std::string& key, Statements& found) {
  Statement statement{formatted("{}: {}", file.path, key), {}};
  const auto value = io::member_or<Json>(file.json, key, file.path, nullptr);
  for (const Json& entry : value.is_array() ? value : Json::array({value})) {
    const auto id = whole_number(entry);
    LORSA_CHECK(id.has_value() || entry.is_null(), FormatError, "{}: expected an id, found {}",
                statement.where, value.dump());
    if (id.value_or(-1) >= 0) {  // Llama 2 configurations write "none" as -1
      statement.ids.push_back(*id);
    }
  }
  if (!statement.ids.empty()) {
    found.push_back(std::move(statement));
  }
}

/// All that is said of one special token, what counts first coming first.
struct Said {
  Statements own;    // by the tokenizer's files
  Statements model;  // by the model's
};

/// Everything that the files of a folder say.
class Sources {
 public:
  Sources(const std::filesystem::path& folder,
          const Json& tokenizer_json,
          const Template& around,
          const Vocabulary& vocabulary)
      : tokenizer_path_((folder / "tokenizer.json").string()),
        tokenizer_json_(tokenizer_json),
        around_(around),
        vocabulary_(vocabulary),
        tokenizer_config_(folder, "tokenizer_config.json"),
        special_tokens_map_(folder, "special_tokens_map.json"),
        config_(folder, "config.json"),
        generation_config_(folder, "generation_config.json") {}

  /// `name` is bos, eos or pad.
  [[nodiscard]] Said said_of(const std::string& name) const {
    Said said;
    const bool current = tokenizer_config_.json.contains("added_tokens_decoder");
    for (const NamedJson* file : {current ? &tokenizer_config_ : &special_tokens_map_,
                                  current ? &special_tokens_map_ : &tokenizer_config_}) {
      add_token(file->json, name + "_token", file->path, vocabulary_, said.own);
    }
    if (name == "pad") {
      const auto padding =
          io::member_or<Json>(tokenizer_json_, "padding", tokenizer_path_, nullptr);
      add_token(padding, "pad_token", tokenizer_path_ + ": padding", vocabulary_, said.own);
    } else {
      const std::vector<int32_t>& ids = name == "bos" ? around_.before : around_.after;
      if (!ids.empty()) {
        said.own.push_back({formatted("{}: post_processor: the template's tokens {} a text",
                                      tokenizer_path_, name == "bos" ? "before" : "behind"),
                            {ids.begin(), ids.end()}});
      }
    }
    add_ids(config_, name + "_token_id", said.model);
    add_ids(generation_config_, name + "_token_id", said.model);
    return said;
  }

  /// True if tokenizer_config.json asks for the token around every text.
  [[nodiscard]] bool adds(const std::string& name) const {
    return io::member_or<bool>(tokenizer_config_.json, formatted("add_{}_token", name),
                               tokenizer_config_.path, false);
  }

  [[nodiscard]] const std::string& tokenizer_config_path() const { return tokenizer_config_.path; }

 private:
  std::string tokenizer_path_;
  const Json& tokenizer_json_;
  const Template& around_;
  const Vocabulary& vocabulary_;
  NamedJson tokenizer_config_;
  NamedJson special_tokens_map_;
  NamedJson config_;
  NamedJson generation_config_;
};

/// The word of the tokenizer's files, or nothing. Several tokens of a template name no single one.
const Statement* own_word(const Said& said) {
  const auto found = std::find_if(said.own.begin(), said.own.end(), [](const Statement& each) {
    return each.ids.size() == 1 || !each.unknown_text.empty();
  });
  return found == said.own.end() ? nullptr : &*found;
}

/// The ids that may stand for the token `id`: those of the model's lists that hold it, and of lists
/// that have an id in common with these.
std::set<int64_t> agreeing_ids(int64_t id, const Statements& model) {
  std::set<int64_t> agreeing = {id};
  for (size_t round = 0; round < model.size(); ++round) {
    for (const Statement& statement : model) {
      if (std::any_of(statement.ids.begin(), statement.ids.end(),
                      [&](int64_t each) { return agreeing.contains(each); })) {
        agreeing.insert(statement.ids.begin(), statement.ids.end());
      }
    }
  }
  return agreeing;
}

void check_in_vocabulary(const Statement& statement, const Vocabulary& vocabulary) {
  LORSA_CHECK(
      statement.unknown_text.empty(), FormatError,
      "{}: {} is not in the vocabulary of tokenizer.json (do the two files belong together?)",
      statement.where, statement.unknown_text);
  for (const int64_t id : statement.ids) {
    LORSA_CHECK(id < vocabulary.size, FormatError,
                "{}: expected an id below the vocabulary's {}, found {}", statement.where,
                vocabulary.size, id);
  }
}

/// The id of the token `name` by the files; adds to `result` what is unscored with it and what is
/// to be said.
std::optional<int32_t> read_id(const std::string& name,
                               const Sources& sources,
                               const Vocabulary& vocabulary,
                               SpecialTokenIds& result) {
  const Said said = sources.said_of(name);
  if (sources.adds(name) && said.own.empty()) {
    result.warnings.push_back(
        formatted("{}: add_{}_token = true, but the tokenizer's files name no {}_token",
                  sources.tokenizer_config_path(), name, name));
  }
  const Statement* own = own_word(said);
  if (own == nullptr && said.model.empty()) {
    return std::nullopt;
  }
  const Statement& counts = own != nullptr ? *own : said.model.front();
  check_in_vocabulary(counts, vocabulary);
  const int64_t id = counts.ids.front();
  const auto contradicts = [&](const Statement& statement) {
    result.warnings.push_back(formatted("{} contradicts {}, which counts here",
                                        text_of(statement, vocabulary),
                                        text_of(counts, vocabulary)));
  };
  for (const Statement& statement : said.own) {
    if (!holds(statement, id)) {
      contradicts(statement);
    }
  }
  const std::set<int64_t> agreeing = agreeing_ids(id, said.model);
  for (const Statement& statement : said.model) {
    if (!agreeing.contains(statement.ids.front())) {
      contradicts(statement);
      continue;
    }
    check_in_vocabulary(statement, vocabulary);
    for (const int64_t each : statement.ids) {
      result.unscored.push_back(static_cast<int32_t>(each));
    }
  }
  if (own == nullptr && name != "pad") {
    result.notes.push_back(formatted("the tokenizer's files name no {}_token: {} counts", name,
                                     text_of(counts, vocabulary)));
  }
  return static_cast<int32_t>(id);
}

std::optional<int32_t> first_known(const Vocabulary& vocabulary,
                                   std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const auto id = vocabulary.id_of(name)) {
      return id;
    }
  }
  return std::nullopt;
}

}  // namespace

SpecialTokenIds read_special_ids(const std::filesystem::path& folder,
                                 const Json& file,
                                 const Template& around,
                                 const Vocabulary& vocabulary) {
  const Sources sources(folder, file, around, vocabulary);
  SpecialTokenIds ids;
  ids.bos = read_id("bos", sources, vocabulary, ids);
  ids.eos = read_id("eos", sources, vocabulary, ids);
  ids.pad = read_id("pad", sources, vocabulary, ids);
  const auto guess = [&](const char* name, std::optional<int32_t> id, const char* reason) {
    if (id) {
      ids.notes.push_back(formatted("{}: no file names {}_token: {} counts, {}", folder, name,
                                    id_text(*id, vocabulary), reason));
    }
    return id;
  };
  const char* by_name = "by its usual name";
  const auto end_of_text = first_known(vocabulary, {"<|endoftext|>", "<|end_of_text|>", "</s>"});
  if (!ids.eos) {
    ids.eos = guess("eos", end_of_text, by_name);
  }
  if (!ids.bos) {
    ids.bos = guess("bos", first_known(vocabulary, {"<|begin_of_text|>", "<s>"}), by_name);
  }
  if (!ids.bos) {
    ids.bos = guess("bos", end_of_text ? end_of_text : ids.eos, "the end of a text begins one too");
  }
  if (!ids.pad) {
    const auto usual = {"<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>"};
    ids.pad = guess("pad", first_known(vocabulary, usual), by_name);
  }
  for (const auto& id : {ids.bos, ids.eos, ids.pad}) {
    if (id) {
      ids.unscored.push_back(*id);
    }
  }
  std::sort(ids.unscored.begin(), ids.unscored.end());
  ids.unscored.erase(std::unique(ids.unscored.begin(), ids.unscored.end()), ids.unscored.end());
  return ids;
}

}  // namespace lorsa::lm
