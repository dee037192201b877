#include "lm/bpe.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "lm/bpe_merge.h"
#include "lm/byte_level.h"
#include "lm/utf8.h"
#include "lorsa/core/error.h"

namespace lorsa::lm {
namespace {

using io::Json;

// Above this a vocabulary is a damaged file; ids index arrays.
constexpr int64_t kMaxVocabulary = int64_t{1} << 24;

// Settings that change ids and are not implemented. Null, false, 0 and "" say that they are off.
void refuse_unsupported(const Json& settings, const std::string& where) {
  const auto type = io::member_or<std::string>(settings, "type", where, "BPE");
  LORSA_CHECK(type == "BPE", FormatError, "{}: model type \"{}\" is not supported", where, type);
  for (const char* key :
       {"dropout", "byte_fallback", "continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json value = io::member_or<Json>(settings, key, where, nullptr);
    const bool off = value.is_null() || value == Json(false) || value == Json("") ||
                     (value.is_number() && value.get<double>() == 0.0);
    LORSA_CHECK(off, FormatError, "{}: {} = {} is not supported", where, key, value.dump());
  }
}

std::pair<std::string, std::string> read_merge(const Json& merge, const std::string& where) {
  if (merge.is_string()) {
    const auto& text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    LORSA_CHECK(space != std::string::npos && text.find(' ', space + 1) == std::string::npos,
                FormatError, "{}: expected two tokens and one space, found \"{}\"", where, text);
    return {text.substr(0, space), text.substr(space + 1)};
  }
  LORSA_CHECK(merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string(),
              FormatError, "{}: expected two tokens, found {}", where, merge.dump());
  return {merge[0].get<std::string>(), merge[1].get<std::string>()};
}

}  // namespace

Bpe::Bpe(const Json& settings, WordUnits units, const std::string& where) : units_(units) {
  refuse_unsupported(settings, where);
  const auto vocabulary = settings.find("vocab");
  LORSA_CHECK(vocabulary != settings.end() && vocabulary->is_object() && !vocabulary->empty(),
              FormatError, "{}: vocab: expected an object of tokens and ids", where);
  read_vocabulary(*vocabulary, where + ".vocab");
  // An unknown unit would become unk_token; with all bytes known there is none.
  const auto unknown = io::member_or<std::string>(settings, "unk_token", where, "");
  for (size_t byte = 0; byte < 256; ++byte) {
    LORSA_CHECK(
        unknown.empty() || (units == WordUnits::kBytes && byte_ids_[byte] >= 0), FormatError,
        "{}: unk_token = \"{}\" is not supported with a vocabulary that lacks single bytes ({})",
        where, unknown, byte);
  }
  const auto merges = settings.find("merges");
  LORSA_CHECK(merges != settings.end() && merges->is_array(), FormatError,
              "{}: merges: expected a list", where);
  read_merges(*merges, where + ".merges");
  find_whole_words(io::member_or<bool>(settings, "ignore_merges", where, false));
}

void Bpe::read_vocabulary(const Json& vocabulary, const std::string& where) {
  int64_t largest = -1;
  for (const auto& [token, id] : vocabulary.items()) {
    LORSA_CHECK(
        id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() < kMaxVocabulary,
        FormatError, "{}: \"{}\": expected an id < {}, found {}", where, token, kMaxVocabulary,
        id.dump());
    largest = std::max(largest, id.get<int64_t>());
  }
  tokens_.resize(static_cast<size_t>(largest + 1));
  std::vector<bool> taken(tokens_.size());
  words_ = WordTable(vocabulary.size());
  for (const auto& [token, value] : vocabulary.items()) {
    const auto id = value.get<int32_t>();
    const auto index = static_cast<size_t>(id);
    LORSA_CHECK(!taken[index], FormatError, "{}: \"{}\" and \"{}\" have the same id {}", where,
                token, tokens_[index], id);
    taken[index] = true;
    tokens_[index] = token;
    if (units_ == WordUnits::kCharacters) {
      words_.insert(token, id);
    } else if (const auto bytes = byte_level_bytes(token)) {
      words_.insert(*bytes, id);  // tokens with other characters (special ones) match no word
    }
  }
  for (size_t byte = 0; byte < 256; ++byte) {
    const char unit = static_cast<char>(byte);
    byte_ids_[byte] = words_.find(std::string_view(&unit, 1));
  }
}

void Bpe::read_merges(const Json& merges, const std::string& where) {
  std::unordered_map<std::string_view, int32_t> ids;
  ids.reserve(tokens_.size());
  for (size_t id = 0; id < tokens_.size(); ++id) {
    ids.emplace(tokens_[id], static_cast<int32_t>(id));
  }
  const auto id_of = [&](const std::string& token, size_t index) {
    const auto found = ids.find(token);
    LORSA_CHECK(found != ids.end() && !token.empty(), FormatError,
                "{}[{}]: \"{}\" is not in the vocabulary", where, index, token);
    return found->second;
  };
  merges_ = MergeTable(merges.size());
  uint32_t rank = 0;
  for (size_t i = 0; i < merges.size(); ++i) {
    // Old files keep the header line of merges.txt, which the package skips.
    if (merges[i].is_string() &&
        merges[i].get_ref<const std::string&>().compare(0, 8, "#version") == 0) {
      continue;
    }
    const auto [left, right] = read_merge(merges[i], formatted("{}[{}]", where, i));
    merges_.insert(id_of(left, i), id_of(right, i), {rank++, id_of(left + right, i)});
  }
}

void Bpe::find_whole_words(bool ignore_merges) {
  whole_.assign(tokens_.size(), ignore_merges);
  std::vector<int32_t> ids;
  for (size_t id = 0; id < tokens_.size() && !ignore_merges; ++id) {
    const auto bytes = units_ == WordUnits::kBytes ? byte_level_bytes(tokens_[id]) : tokens_[id];
    if (bytes && !bytes->empty()) {
      ids.clear();
      merge_word(*bytes, ids);
      whole_[id] = ids.size() == 1 && ids[0] == static_cast<int32_t>(id);
    }
  }
}

void Bpe::encode(std::string_view word, std::vector<int32_t>& ids) const {
  const int32_t id = words_.find(word);
  if (id >= 0 && whole_[static_cast<size_t>(id)]) {
    ids.push_back(id);
  } else {
    merge_word(word, ids);
  }
}

void Bpe::merge_word(std::string_view word, std::vector<int32_t>& ids) const {
  const size_t first = ids.size();
  if (units_ == WordUnits::kBytes) {
    for (const char byte : word) {
      const int32_t id = byte_ids_[static_cast<uint8_t>(byte)];
      if (id >= 0) {
        ids.push_back(id);
      }
    }
  } else {
    for (size_t at = 0; at < word.size();) {
      const size_t size = decode_utf8(word, at).size;
      const int32_t id = words_.find(word.substr(at, size));
      if (id >= 0) {
        ids.push_back(id);
      }
      at += size;
    }
  }
  merge_ids(merges_, ids, first);
}

}  // namespace lorsa::lm
