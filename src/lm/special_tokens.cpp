#include "lm/special_tokens.h"

#include <algorithm>
#include <initializer_list>

#include "lorsa/core/error.h"

namespace lorsa::lm {
namespace {

using io::Json;

int32_t checked_id(int64_t id, int64_t vocabulary_size, const std::string& where) {
  LORSA_CHECK(id >= 0 && id < vocabulary_size,
              FormatError,
              where,
              ": expected an id below the vocabulary's ",
              vocabulary_size,
              ", found ",
              id);
  return static_cast<int32_t>(id);
}

std::vector<int32_t> ids_of_special(const Json& settings,
                                    const Json& item,
                                    const std::string& where) {
  const auto name = io::member<std::string>(item, "id", where);
  const Json all = io::member<Json>(settings, "special_tokens", where);
  const Json entry = io::member<Json>(all, name, where + ".special_tokens");
  const Json ids = io::member<Json>(entry, "ids", where + ".special_tokens." + name);
  LORSA_CHECK(ids.is_array() && std::all_of(ids.begin(),
                                            ids.end(),
                                            [](const Json& id) {
                                              return id.is_number_integer() &&
                                                     id.get<int64_t>() >= 0 &&
                                                     id.get<int64_t>() <= INT32_MAX;
                                            }),
              FormatError,
              where,
              ".special_tokens.",
              name,
              ": ids: expected a list of ids, found ",
              ids.dump());
  return ids.get<std::vector<int32_t>>();
}

Template read_single(const Json& settings, const std::string& where) {
  const Json single = io::member<Json>(settings, "single", where);
  LORSA_CHECK(single.is_array(), FormatError, where, ": single: expected a list");
  Template result;
  bool text_seen = false;
  for (const Json& item : single) {
    const std::string here = where + ".single";
    if (item.is_object() && item.contains("SpecialToken")) {
      const auto ids = ids_of_special(settings, item["SpecialToken"], where);
      auto& side = text_seen ? result.after : result.before;
      side.insert(side.end(), ids.begin(), ids.end());
    } else {
      const Json text = io::member<Json>(item, "Sequence", here);
      LORSA_CHECK(!text_seen && io::member<std::string>(text, "id", here) == "A",
                  FormatError,
                  here,
                  ": expected the sequence \"A\" once, found ",
                  single.dump());
      text_seen = true;
    }
  }
  LORSA_CHECK(text_seen, FormatError, where, ".single: expected the sequence \"A\", found none");
  return result;
}

// Members `name`_token_id of config.json: a number, null, or a list of which the first counts.
std::optional<int32_t> id_in_config(const Json& config,
                                    const std::string& key,
                                    int64_t vocabulary_size,
                                    const std::string& where) {
  auto value = io::member_or<Json>(config, key, where, nullptr);
  if (value.is_array() && !value.empty()) {
    value = Json(value.front());
  }
  if (value.is_null() || (value.is_number_integer() && value.get<int64_t>() < 0)) {
    return std::nullopt;  // Llama 2 configurations write "none" as -1
  }
  LORSA_CHECK(value.is_number_integer(),
              FormatError,
              where,
              ": ",
              key,
              ": expected an id, found ",
              value.dump());
  return checked_id(value.get<int64_t>(), vocabulary_size, concat(where, ": ", key));
}

// Members such as bos_token of tokenizer_config.json: text, or an object with the text as content.
std::optional<int32_t> id_in_tokenizer_config(const Json& config,
                                              const std::string& key,
                                              const IdOf& id_of,
                                              const std::string& where) {
  auto value = io::member_or<Json>(config, key, where, nullptr);
  if (value.is_object()) {
    value = io::member<Json>(value, "content", concat(where, ": ", key));
  }
  if (value.is_null()) {
    return std::nullopt;
  }
  LORSA_CHECK(
      value.is_string(), FormatError, where, ": ", key, ": expected a token, found ", value.dump());
  const auto id = id_of(value.get<std::string>());
  LORSA_CHECK(id.has_value(),
              FormatError,
              where,
              ": ",
              key,
              ": ",
              value.dump(),
              " is not in the vocabulary");
  return id;
}

std::optional<int32_t> first_known(const IdOf& id_of, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const auto id = id_of(name)) {
      return id;
    }
  }
  return std::nullopt;
}

Json read_if_there(const std::filesystem::path& path) {
  return std::filesystem::exists(path) ? io::read_json(path) : Json::object();
}

}  // namespace

Template read_template(const Json& settings, const std::string& where) {
  if (settings.is_null()) {
    return {};
  }
  const auto type = io::member<std::string>(settings, "type", where);
  if (type == "ByteLevel") {
    return {};  // trims offsets only
  }
  if (type == "TemplateProcessing") {
    return read_single(settings, where);
  }
  LORSA_CHECK(type == "Sequence",
              FormatError,
              where,
              ": post-processor type \"",
              type,
              "\" is not supported");
  const Json inner = io::member<Json>(settings, "processors", where);
  LORSA_CHECK(inner.is_array(), FormatError, where, ": processors: expected a list");
  Template result;
  for (size_t i = 0; i < inner.size(); ++i) {
    const std::string here = concat(where, ".processors[", i, "]");
    Template found = read_template(inner[i], here);
    if (!found.before.empty() || !found.after.empty()) {
      LORSA_CHECK(result.before.empty() && result.after.empty(),
                  FormatError,
                  here,
                  ": a second template is not supported");
      result = std::move(found);
    }
  }
  return result;
}

SpecialTokenIds read_special_ids(const std::filesystem::path& folder,
                                 const IdOf& id_of,
                                 int64_t vocabulary_size) {
  const auto config_path = folder / "config.json";
  const auto tokenizer_path = folder / "tokenizer_config.json";
  const Json config = read_if_there(config_path);
  const Json tokenizer_config = read_if_there(tokenizer_path);
  const auto in_files = [&](const std::string& name) {
    const auto id = id_in_config(config, name + "_token_id", vocabulary_size, config_path.string());
    return id ? id
              : id_in_tokenizer_config(
                    tokenizer_config, name + "_token", id_of, tokenizer_path.string());
  };
  const auto end_of_text = first_known(id_of, {"<|endoftext|>", "<|end_of_text|>", "</s>"});
  SpecialTokenIds ids{in_files("bos"), in_files("eos"), in_files("pad")};
  if (!ids.eos) {
    ids.eos = end_of_text;
  }
  if (!ids.bos) {
    ids.bos = first_known(id_of, {"<|begin_of_text|>", "<s>"});
  }
  if (!ids.bos) {
    ids.bos = end_of_text ? end_of_text : ids.eos;
  }
  if (!ids.pad) {
    ids.pad = first_known(id_of, {"<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>"});
  }
  return ids;
}

}  // namespace lorsa::lm
