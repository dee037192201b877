// Reading documents. Strictness: a corpus with a few broken lines is usable and says so; one that
// is mostly broken is the wrong file or the wrong text_key, and that must not end in a small cache.
#include "lorsa/data/corpus.h"

#include <variant>

#include "core/file_content.h"
#include "data/corpus_files.h"
#include "data/token_file.h"
#include "io/input_stream.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/text.h"
#include "lorsa/io/checksum.h"
#include "lorsa/io/json.h"

namespace lorsa::data {
namespace {

/// Broken lines that are named one by one; the rest is only counted.
constexpr int64_t kNamedLines = 5;
/// Lines before the share of broken ones is judged in mid-file; at the end it is judged anyway.
constexpr int64_t kLinesBeforeJudging = 200;

bool is_blank(const std::string& line) {
  return line.find_first_not_of(" \t\r\n") == std::string::npos;
}

/// "; it begins like ...", where a file whose lines are no documents shows what it is.
std::string what_it_is(const std::filesystem::path& path) {
  const FileContent content = content_of_file(path);
  if (content.content == Content::kServerAnswer || content.content == Content::kText) {
    return formatted("; it is {}", content.found);
  }
  constexpr size_t kListStart = 64;
  std::string start(kListStart, '\0');
  start.resize(io::open_input_stream(path)->read(start.data(), start.size()));
  const size_t first = start.find_first_not_of(" \t\r\n");
  return first != std::string::npos && start[first] == '['
             ? "; it begins like one JSON list: write one object a line instead"
             : "";
}

/// A web page is text, but in a corpus hardly what was meant.
bool looks_like_page(const std::string& text) {
  const Content content =
      content_of(std::string_view(text).substr(0, kContentBytes), text.size()).content;
  return content == Content::kWebPage || content == Content::kXml ||
         content == Content::kServerAnswer;
}

/// `message` without the `place` that it begins with, which the caller names anyway.
std::string without_place(const std::string& message, const std::string& place) {
  return message.starts_with(place) ? message.substr(place.size()) : message;
}

}  // namespace

struct CorpusReader::Impl {
  Impl(const CorpusConfig& corpus, std::optional<int32_t> between)
      : config(corpus), separator(between), files(corpus_files(corpus)) {
    for (const std::filesystem::path& each : files) {
      bytes_total += checked_size(each);
    }
  }

  /// The next document of the open file, or nothing where it ends.
  std::optional<Document> next_in_file();
  std::optional<Document> next_line();
  std::optional<Document> whole_file();
  std::optional<Document> next_ids();
  void open_next();
  void close_file();
  void skip(const std::string& where, const std::string& reason);
  void judge_share() const;
  [[nodiscard]] int64_t bytes_of_open_file() const;

  [[nodiscard]] std::string path() const { return files[file].string(); }

  CorpusConfig config;
  std::optional<int32_t> separator;
  std::vector<std::filesystem::path> files;
  size_t file = 0;  ///< the open one, or the next to be opened
  std::variant<std::monostate, io::LineReader, TokenFile> open;
  int64_t line = 0;               ///< lines read of the open file
  int64_t documents_of_file = 0;  ///< and what came of them
  int64_t broken_of_file = 0;
  int64_t judged = 0;  ///< non-blank lines over all files, broken ones included
  int64_t broken = 0;
  int64_t pages = 0;  ///< .txt files that hold a web page
  int64_t next_index = 0;
  int64_t bytes_before = 0;  ///< of the files behind us
  int64_t bytes_total = 0;
};

void CorpusReader::Impl::skip(const std::string& where, const std::string& reason) {
  ++broken;
  ++broken_of_file;
  if (broken <= kNamedLines) {
    log_warning("{}: skipped: {}", where, reason);
  }
  if (judged >= kLinesBeforeJudging) {
    judge_share();
  }
}

void CorpusReader::Impl::judge_share() const {
  const double allowed = config.max_bad_share * static_cast<double>(judged);
  LORSA_CHECK(static_cast<double>(broken) <= allowed, FormatError,
              "{}: {} of the first {} lines of the corpus are unusable, more than "
              "data.max_bad_share = {} allows (is data.text_key = \"{}\" right?){}",
              path(), broken, judged, config.max_bad_share, config.text_key,
              what_it_is(files[file]));
}

void CorpusReader::Impl::open_next() {
  const CorpusKind kind = corpus_kind(files[file]);
  if (kind == CorpusKind::kJsonLines || kind == CorpusKind::kText) {
    open.emplace<io::LineReader>(files[file]);
  } else {
    open.emplace<TokenFile>(files[file], config.token_dtype);
  }
  line = 0;
  documents_of_file = 0;
  broken_of_file = 0;
}

void CorpusReader::Impl::close_file() {
  LORSA_CHECK(documents_of_file + broken_of_file > 0, FormatError,
              "{}: corpus file holds no document (only blank lines)", path());
  bytes_before += checked_size(files[file]);
  open = std::monostate();
  if (file + 1 == files.size()) {
    judge_share();
    if (broken > kNamedLines) {
      log_warning("corpus: {} of {} lines were skipped as unusable", broken, judged);
    }
  }
  ++file;
}

std::optional<Document> CorpusReader::Impl::next_line() {
  std::string text;
  auto& lines = std::get<io::LineReader>(open);
  while (lines.next(text)) {
    ++line;
    if (is_blank(text)) {
      continue;
    }
    ++judged;
    const std::string where = formatted("{}:{}", path(), line);
    try {
      // The JSON parser refuses invalid UTF-8 and lone surrogates, so the text is valid UTF-8.
      return Document{
          io::member<std::string>(io::parse_json(text, where), config.text_key, where), {}, 0};
    } catch (const FormatError& error) {
      skip(where, without_place(error.what(), where + ": "));
    }
  }
  return std::nullopt;
}

std::optional<Document> CorpusReader::Impl::whole_file() {
  if (line > 0) {
    return std::nullopt;
  }
  ++line;
  std::string text = std::get<io::LineReader>(open).rest();
  if (is_blank(text)) {
    return std::nullopt;
  }
  ++judged;
  try {
    text = with_line_feeds(checked_text(std::move(text), path()));
  } catch (const FormatError& error) {
    // "path:line: reason".
    const std::string message = error.what();
    const size_t reason = message.find(": ", path().size());
    skip(message.substr(0, reason), message.substr(reason + 2));
    return std::nullopt;
  }
  if (looks_like_page(text) && ++pages <= kNamedLines) {
    log_warning("{}: the text is a web page or an answer of a server: is that meant?", path());
  }
  return Document{std::move(text), {}, 0};
}

std::optional<Document> CorpusReader::Impl::next_ids() {
  auto ids = std::get<TokenFile>(open).next(separator);
  return ids ? std::optional(Document{{}, std::move(ids), 0}) : std::nullopt;
}

std::optional<Document> CorpusReader::Impl::next_in_file() {
  switch (corpus_kind(files[file])) {
    case CorpusKind::kJsonLines:
      return next_line();
    case CorpusKind::kText:
      return whole_file();
    case CorpusKind::kNpy:
    case CorpusKind::kBin:
      break;
  }
  return next_ids();
}

int64_t CorpusReader::Impl::bytes_of_open_file() const {
  if (const auto* lines = std::get_if<io::LineReader>(&open)) {
    return static_cast<int64_t>(lines->file_bytes_read());
  }
  const auto* tokens = std::get_if<TokenFile>(&open);
  return tokens != nullptr ? tokens->bytes_read() : 0;
}

CorpusReader::CorpusReader(const CorpusConfig& config, std::optional<int32_t> separator)
    : impl_(std::make_unique<Impl>(config, separator)) {}

CorpusReader::~CorpusReader() = default;

std::optional<Document> CorpusReader::next() {
  while (impl_->file < impl_->files.size()) {
    if (std::holds_alternative<std::monostate>(impl_->open)) {
      impl_->open_next();
    }
    std::optional<Document> document = impl_->next_in_file();
    if (document.has_value()) {
      ++impl_->documents_of_file;
      document->index = impl_->next_index++;
      return document;
    }
    impl_->close_file();
  }
  return std::nullopt;
}

std::vector<std::string> CorpusReader::digests() const {
  std::vector<std::string> digests;
  for (const std::filesystem::path& file : impl_->files) {
    digests.push_back(file.filename().string() + " " + io::file_xxh3(file));
  }
  return digests;
}

int64_t CorpusReader::bad_lines() const {
  return impl_->broken;
}

int64_t CorpusReader::bytes_read() const {
  return impl_->bytes_before + impl_->bytes_of_open_file();
}

int64_t CorpusReader::bytes_total() const {
  return impl_->bytes_total;
}

void describe(config::Fields& fields, CorpusConfig& config) {
  fields
      .text_list(
          "files", config.files,
          "Documents, read in this order; names may hold *, ? and [...]. Text in UTF-8: .jsonl "
          "(one object a line), .txt (one document a file), also as .gz or .zst. Token ids: "
          ".npy (a row of two dimensions is a document), .bin.")
      .required();
  fields.text("text_key", config.text_key, "Key of the text in the objects of a .jsonl file.");
  fields.choice("token_dtype", config.token_dtype,
                {{"uint16", TokenDtype::kUInt16},
                 {"uint32", TokenDtype::kUInt32},
                 {"int32", TokenDtype::kInt32},
                 {"int64", TokenDtype::kInt64}},
                "What the ids of a .bin file are, little-endian. In a flat file documents end with "
                "the model's EOS.");
  fields.count("context_length", config.context_length, "Tokens in a row of the cache.")
      .between(2, 1 << 20);
  fields.choice("packing", config.packing,
                {{"pack", Packing::kPack}, {"truncate", Packing::kTruncate}},
                "pack: documents joined until a row is full; truncate: one document, one row, "
                "short documents dropped.");
  fields.boolean("prepend_bos", config.prepend_bos,
                 "Begin every row with the BOS token; one that documents bring is not doubled.");
  fields
      .count("max_tokens", config.max_tokens,
             "Stop once the rows hold this many tokens, held-out rows included.")
      .at_least(1);
  fields
      .number("holdout_fraction", config.holdout_fraction,
              "Share of the documents, chosen by hash, that goes into held-out rows.")
      .between(0, 0.9);
  fields
      .number("max_bad_share", config.max_bad_share,
              "Share of unusable lines (broken JSON, no text, not UTF-8) that is skipped before "
              "the corpus is refused.")
      .between(0, 1);
}

bool is_heldout(const Document& document, double fraction) {
  const uint64_t hash = document.ids
                            ? io::xxh3(document.ids->data(), sizeof(int32_t) * document.ids->size())
                            : io::xxh3(document.text.data(), document.text.size());
  // 53 bits are exact in a double, so the share is in [0, 1) and fraction 1 takes everything.
  return static_cast<double>(hash >> 11) * 0x1.0p-53 < fraction;
}

}  // namespace lorsa::data
