#include "lm/added_tokens.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "lm/utf8.h"
#include "lorsa/core/error.h"

namespace lorsa::lm {
namespace {

using io::Json;

// Start of the white space that ends at byte `end`.
size_t skip_space_back(std::string_view text, size_t end) {
  while (end > 0) {
    size_t start = end - 1;
    while ((static_cast<uint8_t>(text[start]) & 0xc0) == 0x80) {
      --start;
    }
    if (!is_white_space(decode_utf8(text, start).code)) {
      break;
    }
    end = start;
  }
  return end;
}

size_t skip_space(std::string_view text, size_t at) {
  while (at < text.size()) {
    const Utf8Character character = decode_utf8(text, at);
    if (!is_white_space(character.code)) {
      break;
    }
    at += character.size;
  }
  return at;
}

}  // namespace

std::vector<AddedToken> read_added_tokens(const Json& settings, const std::string& where) {
  LORSA_CHECK(settings.is_array() || settings.is_null(), FormatError,
              "{}: expected a list, found {}", where, settings.type_name());
  std::vector<AddedToken> tokens;
  std::unordered_set<std::string> contents;
  std::unordered_set<int64_t> ids;
  for (size_t i = 0; i < settings.size(); ++i) {
    const std::string here = formatted("{}[{}]", where, i);
    const Json& entry = settings[i];
    AddedToken token;
    const auto id = io::member<int64_t>(entry, "id", here);
    token.content = io::member<std::string>(entry, "content", here);
    token.strip_left = io::member_or<bool>(entry, "lstrip", here, false);
    token.strip_right = io::member_or<bool>(entry, "rstrip", here, false);
    token.special = io::member_or<bool>(entry, "special", here, false);
    token.normalized = io::member_or<bool>(entry, "normalized", here, !token.special);
    LORSA_CHECK(!io::member_or<bool>(entry, "single_word", here, false), FormatError,
                "{}: single_word of \"{}\" is not supported", here, token.content);
    LORSA_CHECK(id >= 0 && id < std::numeric_limits<int32_t>::max() && ids.insert(id).second,
                FormatError, "{}: expected an id of its own, found {}", here, id);
    LORSA_CHECK(!token.content.empty() && contents.insert(token.content).second, FormatError,
                "{}: expected a content of its own, found \"{}\"", here, token.content);
    token.id = static_cast<int32_t>(id);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::vector<std::string> differing_added_tokens(const Json& decoder,
                                                const std::string& where,
                                                const std::vector<AddedToken>& tokens) {
  std::unordered_map<std::string, const AddedToken*> by_content;
  for (const AddedToken& token : tokens) {
    by_content.emplace(token.content, &token);
  }
  LORSA_CHECK(decoder.is_object(), FormatError, "{}: expected an object of ids", where);
  std::vector<std::string> differences;
  for (const auto& [id, entry] : decoder.items()) {
    const std::string here = formatted("{}: {}", where, id);
    const auto content = io::member<std::string>(entry, "content", here);
    const bool special = io::member_or<bool>(entry, "special", here, false);
    const auto found = by_content.find(content);
    if (found == by_content.end()) {
      differences.push_back(formatted("{} is \"{}\", no added token there", id, content));
      continue;
    }
    const AddedToken& token = *found->second;
    if (id != std::to_string(token.id)) {
      differences.push_back(formatted("{} is \"{}\", {} there", id, content, token.id));
    }
    const std::array<std::tuple<const char*, bool, bool>, 4> flags = {
        {{"lstrip", io::member_or<bool>(entry, "lstrip", here, false), token.strip_left},
         {"rstrip", io::member_or<bool>(entry, "rstrip", here, false), token.strip_right},
         {"normalized", io::member_or<bool>(entry, "normalized", here, !special), token.normalized},
         {"single_word", io::member_or<bool>(entry, "single_word", here, false), false}}};
    for (const auto& [flag, here_set, there_set] : flags) {
      if (here_set != there_set) {
        differences.push_back(formatted("\"{}\" has {} {}, the other there", content, flag,
                                        here_set ? "true" : "false"));
      }
    }
  }
  return differences;
}

AddedTokenFinder::AddedTokenFinder(const std::vector<AddedToken>& tokens, bool normalized)
    : nodes_(1) {
  for (const AddedToken& token : tokens) {
    if (token.normalized != normalized) {
      continue;
    }
    uint32_t node = 0;
    for (const char c : token.content) {
      const auto byte = static_cast<uint8_t>(c);
      uint32_t next = child(node, byte);
      if (next == 0) {
        next = static_cast<uint32_t>(nodes_.size());
        if (node == 0) {
          roots_[byte] = next;
        } else {
          nodes_[node].children.emplace_back(byte, next);
        }
        nodes_.emplace_back();
      }
      node = next;
    }
    nodes_[node].token = static_cast<int32_t>(tokens_.size());
    tokens_.push_back(token);
  }
}

uint32_t AddedTokenFinder::child(uint32_t node, uint8_t byte) const {
  if (node == 0) {
    return roots_[byte];
  }
  for (const auto& [edge, next] : nodes_[node].children) {
    if (edge == byte) {
      return next;
    }
  }
  return 0;
}

int32_t AddedTokenFinder::longest_at(std::string_view text, size_t at) const {
  int32_t longest = -1;
  uint32_t node = roots_[static_cast<uint8_t>(text[at])];
  while (node != 0) {
    if (nodes_[node].token >= 0) {
      longest = nodes_[node].token;
    }
    node = ++at < text.size() ? child(node, static_cast<uint8_t>(text[at])) : 0;
  }
  return longest;
}

void AddedTokenFinder::split(std::string_view text, const Found& found, const Gap& gap) const {
  size_t covered = 0;
  size_t at = 0;
  while (!tokens_.empty() && at < text.size()) {
    const int32_t index = longest_at(text, at);
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    const size_t end = at + token.content.size();
    // The search goes on behind the content itself: as in the package a token of white space may
    // still be found in what strip_right took.
    const size_t begin = token.strip_left ? std::max(covered, skip_space_back(text, at)) : at;
    if (covered < begin) {
      gap(covered, begin);
    }
    found(token.id);
    covered = token.strip_right ? skip_space(text, end) : end;
    at = end;
  }
  if (covered < text.size()) {
    gap(covered, text.size());
  }
}

}  // namespace lorsa::lm
