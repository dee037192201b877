#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "lorsa/io/json.h"

namespace lorsa::lm {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool strip_left = false;   ///< takes white space before it along
  bool strip_right = false;  ///< takes white space behind it along
  bool normalized = false;   ///< looked for only in what the others left
  bool special = false;
};

/// The member `added_tokens` of tokenizer.json, in its order. Throws FormatError on single_word,
/// which is not supported, and on contents or ids given twice.
[[nodiscard]] std::vector<AddedToken> read_added_tokens(const io::Json& settings,
                                                        const std::string& where);

/// How `decoder`, the member added_tokens_decoder of tokenizer_config.json, differs from the tokens
/// of tokenizer.json: texts such as `5 is "<pad>", not "<|pad|>"`. Whether a token is special makes
/// no difference to ids. Throws FormatError for what is no such object.
[[nodiscard]] std::vector<std::string> differing_added_tokens(
    const io::Json& decoder, const std::string& where, const std::vector<AddedToken>& tokens);

/// Finds added tokens in a text: leftmost match, among those starting there the longest.
class AddedTokenFinder {
 public:
  using Found = std::function<void(int32_t)>;
  using Gap = std::function<void(size_t begin, size_t end)>;

  /// The tokens among `tokens` with `normalized` as given.
  AddedTokenFinder(const std::vector<AddedToken>& tokens, bool normalized);

  /// Calls `found` for every token in `text` and `gap` for every non-empty stretch between, in
  /// order. Time is linear in the text (times the longest token).
  void split(std::string_view text, const Found& found, const Gap& gap) const;

 private:
  struct Node {
    int32_t token = -1;                                  // index into tokens_
    std::vector<std::pair<uint8_t, uint32_t>> children;  // byte -> node
  };

  [[nodiscard]] uint32_t child(uint32_t node, uint8_t byte) const;
  [[nodiscard]] int32_t longest_at(std::string_view text, size_t at) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;
  std::array<uint32_t, 256> roots_{};  // by first byte; 0: no token starts so
};

}  // namespace lorsa::lm
