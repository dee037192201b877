#include "lorsa/lm/tokenizer.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>

#include "lm/added_tokens.h"
#include "lm/bpe.h"
#include "lm/byte_level.h"
#include "lm/model_folder.h"
#include "lm/normalizer.h"
#include "lm/post_processor.h"
#include "lm/pre_tokenizer.h"
#include "lm/special_tokens.h"
#include "lm/split_pattern.h"
#include "lm/utf8.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/text.h"
#include "lorsa/core/utf8.h"
#include "lorsa/io/json.h"

namespace lorsa::lm {
namespace {

using io::Json;

Json part(const Json& file, const std::string& key, const std::string& where) {
  return io::member_or<Json>(file, key, where, nullptr);
}

void check_decoder(const Json& settings, const std::string& where) {
  LORSA_CHECK(!settings.is_null(), FormatError,
              "{}: expected ByteLevel, found none: not a byte-level tokenizer", where);
  const auto type = io::member<std::string>(settings, "type", where);
  const Json inner = io::member_or<Json>(settings, "decoders", where, Json::array());
  if (type == "Sequence" && inner.size() == 1) {
    check_decoder(inner[0], where + ".decoders[0]");
  } else {
    LORSA_CHECK(type == "ByteLevel", FormatError, "{}: decoder {} is not supported", where, type);
  }
}

/// The tokens with their contents as the normaliser leaves them.
std::vector<AddedToken> normalized(std::vector<AddedToken> tokens, const Normalizer& normalizer) {
  std::string buffer;
  for (AddedToken& token : tokens) {
    token.content = std::string(normalizer.apply(token.content, buffer));
  }
  return tokens;
}

/// Logs what a folder's files contradict or leave open: once a process, for a command may open a
/// tokenizer several times.
void say_once(LogLevel level, const std::vector<std::string>& messages) {
  static std::mutex mutex;
  static std::set<std::string> said;
  const std::lock_guard<std::mutex> lock(mutex);
  for (const std::string& message : messages) {
    if (said.insert(message).second) {
      log(level, message);
    }
  }
}

/// One message on how tokenizer_config.json's list of added tokens differs from tokenizer.json's.
std::vector<std::string> added_token_warnings(const std::filesystem::path& folder,
                                              const std::vector<AddedToken>& added) {
  constexpr size_t kNamed = 3;
  const auto path = folder / "tokenizer_config.json";
  const Json config = std::filesystem::exists(path) ? io::read_json(path) : Json::object();
  const Json decoder = part(config, "added_tokens_decoder", path.string());
  if (decoder.is_null()) {
    return {};
  }
  const std::string where = path.string() + ": added_tokens_decoder";
  const auto differences = differing_added_tokens(decoder, where, added);
  std::string named;
  for (size_t i = 0; i < std::min(differences.size(), kNamed); ++i) {
    named += formatted("{}{}", i == 0 ? "" : "; ", differences[i]);
  }
  if (differences.size() > kNamed) {
    named += formatted("; and {} more", differences.size() - kNamed);
  }
  return differences.empty()
             ? std::vector<std::string>()
             : std::vector<std::string>{
                   formatted("{} contradicts added_tokens of tokenizer.json, which counts here: {}",
                             where, named)};
}

}  // namespace

struct Tokenizer::Impl {
  Impl(const std::filesystem::path& folder, const Json& file, const std::string& where);

  void add_literals(const std::vector<AddedToken>& added, const std::string& where);
  void encode_text(std::string_view text,
                   MatchBuffer& buffer,
                   const PreTokenizer::Word& word,
                   const AddedTokenFinder::Found& found) const;

  [[nodiscard]] std::string text_of(int32_t id) const;

  [[nodiscard]] std::optional<int32_t> id_of(const std::string& token) const {
    const auto entry = ids.find(token);
    return entry == ids.end() ? std::nullopt : std::optional(entry->second);
  }

  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Bpe bpe;
  std::vector<AddedToken> added;
  AddedTokenFinder first_finder;   // in the text as it is
  AddedTokenFinder second_finder;  // in the normal form of what the first left
  Template around;
  std::unordered_map<std::string, int32_t> ids;  // by literal text
  std::vector<std::string> bytes;                // by id
  std::vector<bool> known;                       // ids that have a token
  SpecialTokenIds special;
};

Tokenizer::Impl::Impl(const std::filesystem::path& folder,
                      const Json& file,
                      const std::string& where)
    : normalizer(part(file, "normalizer", where), where + ": normalizer"),
      pre_tokenizer(part(file, "pre_tokenizer", where), where + ": pre_tokenizer"),
      bpe(io::member<Json>(file, "model", where),
          pre_tokenizer.byte_level() ? WordUnits::kBytes : WordUnits::kCharacters,
          where + ": model"),
      added(read_added_tokens(part(file, "added_tokens", where), where + ": added_tokens")),
      first_finder(added, false),
      second_finder(normalized(added, normalizer), true),
      around(read_template(part(file, "post_processor", where), where + ": post_processor")) {
  check_decoder(part(file, "decoder", where), where + ": decoder");
  const auto& tokens = bpe.tokens();
  bytes.resize(tokens.size());
  known.resize(tokens.size());
  ids.reserve(tokens.size() + added.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (!tokens[id].empty()) {
      ids.emplace(tokens[id], static_cast<int32_t>(id));
      bytes[id] = byte_level_bytes(tokens[id]).value_or(tokens[id]);
      known[id] = true;
    }
  }
  add_literals(added, where + ": added_tokens");
  for (const std::vector<int32_t>* side : {&around.before, &around.after}) {
    for (const int32_t id : *side) {
      LORSA_CHECK(static_cast<size_t>(id) < bytes.size(), FormatError,
                  "{}: post_processor: id {} is not below {}", where, id, bytes.size());
    }
  }
  special = read_special_ids(
      folder, file, around,
      {[this](const std::string& token) { return id_of(token); },
       [this](int32_t id) { return text_of(id); }, static_cast<int64_t>(bytes.size())});
  say_once(LogLevel::kWarning, special.warnings);
  say_once(LogLevel::kWarning, added_token_warnings(folder, added));
  say_once(LogLevel::kInfo, special.notes);
}

std::string Tokenizer::Impl::text_of(int32_t id) const {
  const auto index = static_cast<size_t>(id);
  return id < 0 || index >= known.size() || !known[index] ? formatted("[{}]", id)
                                                          : replace_invalid_utf8(bytes[index]);
}

void Tokenizer::Impl::add_literals(const std::vector<AddedToken>& tokens,
                                   const std::string& where) {
  // Whatever ids a file states, the package gives those of the model's vocabulary or, to new
  // tokens, the next ones behind its size, with a warning. A file that states others is refused
  // here.
  auto next = static_cast<int32_t>(ids.size());
  for (const AddedToken& token : tokens) {
    const auto entry = ids.find(token.content);
    const int32_t expected = entry == ids.end() ? next : entry->second;
    LORSA_CHECK(token.id == expected, FormatError, "{}: \"{}\": expected id {}{}, found {}", where,
                token.content, expected,
                entry == ids.end() ? " (the next behind the vocabulary)" : " (the vocabulary's)",
                token.id);
    next = std::max(next, expected + 1);
    const auto index = static_cast<size_t>(token.id);
    if (index >= known.size()) {
      known.resize(index + 1);
      bytes.resize(index + 1);
    }
    LORSA_CHECK(!known[index] || entry != ids.end(), FormatError,
                "{}: \"{}\": id {} is taken: there are gaps", where, token.content, token.id);
    ids.emplace(token.content, token.id);
    bytes[index] = token.content;
    known[index] = true;
  }
}

void Tokenizer::Impl::encode_text(std::string_view text,
                                  MatchBuffer& buffer,
                                  const PreTokenizer::Word& word,
                                  const AddedTokenFinder::Found& found) const {
  std::string normal_form;
  first_finder.split(text, found, [&](size_t begin, size_t end) {
    const std::string_view rest = normalizer.apply(text.substr(begin, end - begin), normal_form);
    const std::string stand_ins = with_stand_ins(rest);
    const std::string_view matched_rest = stand_ins.empty() ? rest : std::string_view(stand_ins);
    second_finder.split(rest, found, [&](size_t from, size_t to) {
      pre_tokenizer.split(rest.substr(from, to - from), matched_rest.substr(from, to - from),
                          buffer, word);
    });
  });
}

Tokenizer::Tokenizer(const std::filesystem::path& folder) {
  const auto path = folder / "tokenizer.json";
  impl_ = std::make_unique<Impl>(folder, read_tokenizer_file(folder), path.string());
}

Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, SpecialTokens special) const {
  const size_t invalid = find_invalid_utf8(text);
  LORSA_CHECK(invalid == std::string_view::npos, FormatError,
              "text: byte {}: expected UTF-8, found 0x{}", invalid,
              hex_digits(static_cast<uint8_t>(text[invalid])));
  // Positions within a word are 32 bits wide.
  LORSA_CHECK(text.size() < std::numeric_limits<uint32_t>::max() - 1, FormatError,
              "text of {} bytes: expected less than 4 GiB", text.size());
  MatchBuffer buffer;
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4 + 8);
  const auto append = [&](const std::vector<int32_t>& more) {
    if (special == SpecialTokens::kAdd) {
      ids.insert(ids.end(), more.begin(), more.end());
    }
  };
  append(impl_->around.before);
  impl_->encode_text(
      text, buffer, [&](std::string_view word) { impl_->bpe.encode(word, ids); },
      [&](int32_t id) { ids.push_back(id); });
  append(impl_->around.after);
  return ids;
}

std::string Tokenizer::decode(const std::vector<int32_t>& ids) const {
  return decode_with_offsets(ids).bytes;
}

DecodedText Tokenizer::decode_with_offsets(const std::vector<int32_t>& ids) const {
  DecodedText text;
  text.offsets.reserve(ids.size() + 1);
  text.offsets.push_back(0);
  for (const int32_t id : ids) {
    const auto index = static_cast<size_t>(id);
    LORSA_CHECK(id >= 0 && index < impl_->known.size() && impl_->known[index], FormatError,
                "expected ids of a vocabulary of {}, found {}", impl_->known.size(), id);
    text.bytes += impl_->bytes[index];
    text.offsets.push_back(text.bytes.size());
  }
  return text;
}

std::string Tokenizer::token_text(int32_t id) const {
  return impl_->text_of(id);
}

int64_t Tokenizer::vocabulary_size() const {
  return static_cast<int64_t>(impl_->known.size());
}

std::vector<int32_t> Tokenizer::ordinary_ids() const {
  std::vector<bool> ordinary = impl_->known;
  for (const AddedToken& token : impl_->added) {
    ordinary[static_cast<size_t>(token.id)] = false;
  }
  for (const int32_t id : impl_->special.unscored) {
    ordinary[static_cast<size_t>(id)] = false;
  }
  std::vector<int32_t> ids;
  for (size_t id = 0; id < ordinary.size(); ++id) {
    if (ordinary[id]) {
      ids.push_back(static_cast<int32_t>(id));
    }
  }
  return ids;
}

std::optional<int32_t> Tokenizer::bos_id() const {
  return impl_->special.bos;
}

std::optional<int32_t> Tokenizer::eos_id() const {
  return impl_->special.eos;
}

std::optional<int32_t> Tokenizer::pad_id() const {
  return impl_->special.pad;
}

const std::vector<int32_t>& Tokenizer::unscored_ids() const {
  return impl_->special.unscored;
}

std::optional<int32_t> Tokenizer::id_of(const std::string& token) const {
  return impl_->id_of(token);
}

}  // namespace lorsa::lm
