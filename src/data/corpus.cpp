// Reading documents. Strictness: a corpus with a few broken lines is usable and says so; one that
// is mostly broken is the wrong file or the wrong text_key, and that must not end in a small cache.
#include "lorsa/data/corpus.h"

#include <fstream>

#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/utf8.h"
#include "lorsa/io/checksum.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"

namespace lorsa::data {
namespace {

/// Broken lines that are named one by one; the rest is only counted.
constexpr int64_t kNamedLines = 5;
/// Lines before the share of broken ones is judged in mid-file; at the end it is judged anyway.
constexpr int64_t kLinesBeforeJudging = 200;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

enum class FileKind { kJsonLines, kText };

FileKind kind_of(const std::filesystem::path& path) {
  const std::string suffix = path.extension().string();
  LORSA_CHECK(suffix == ".jsonl" || suffix == ".txt",
              ConfigError,
              "data.files: ",
              path.string(),
              ": expected a name ending in .jsonl or .txt");
  return suffix == ".jsonl" ? FileKind::kJsonLines : FileKind::kText;
}

int64_t checked_size(const std::filesystem::path& path) {
  std::error_code code;
  const std::filesystem::file_status status = std::filesystem::status(path, code);
  LORSA_CHECK(std::filesystem::exists(status),
              IoError,
              path.string(),
              ": corpus file cannot be opened: ",
              code ? code.message() : "No such file or directory",
              " (data.files)");
  LORSA_CHECK(std::filesystem::is_regular_file(status),
              IoError,
              path.string(),
              ": expected a corpus file, found something else (data.files)");
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path));
  LORSA_CHECK(size > 0, FormatError, path.string(), ": corpus file is empty (0 bytes)");
  return size;
}

bool is_blank(const std::string& line) {
  return line.find_first_not_of(" \t\r\n") == std::string::npos;
}

}  // namespace

struct CorpusReader::Impl {
  explicit Impl(const CorpusConfig& corpus) : config(corpus) {}

  /// The next document of the open file, or nothing where it ends.
  std::optional<std::string> next_in_file();
  std::optional<std::string> next_line();
  std::optional<std::string> whole_file();
  void open_next();
  void close_file();
  void skip(const std::string& where, const std::string& reason);
  void judge_share() const;

  [[nodiscard]] const std::string& path() const { return config.files[file]; }

  CorpusConfig config;
  size_t file = 0;  ///< the open one, or the next to be opened
  std::ifstream stream;
  bool is_open = false;
  int64_t line = 0;               ///< lines read of the open file
  int64_t documents_of_file = 0;  ///< and what came of them
  int64_t broken_of_file = 0;
  int64_t judged = 0;  ///< non-blank lines over all files, broken ones included
  int64_t broken = 0;
  int64_t next_index = 0;
  int64_t bytes_read = 0;
  int64_t bytes_total = 0;
};

void CorpusReader::Impl::skip(const std::string& where, const std::string& reason) {
  ++broken;
  ++broken_of_file;
  if (broken <= kNamedLines) {
    log_warning(where, ": skipped: ", reason);
  }
  if (judged >= kLinesBeforeJudging) {
    judge_share();
  }
}

void CorpusReader::Impl::judge_share() const {
  const double allowed = config.max_bad_share * static_cast<double>(judged);
  LORSA_CHECK(static_cast<double>(broken) <= allowed,
              FormatError,
              path(),
              ": ",
              broken,
              " of the first ",
              judged,
              " lines of the corpus are unusable, more than data.max_bad_share = ",
              config.max_bad_share,
              " allows (is data.text_key = \"",
              config.text_key,
              "\" right?)");
}

void CorpusReader::Impl::open_next() {
  stream = std::ifstream(path(), std::ios::binary);
  LORSA_CHECK(stream.is_open(), IoError, path(), ": cannot open the corpus file for reading");
  is_open = true;
  line = 0;
  documents_of_file = 0;
  broken_of_file = 0;
}

void CorpusReader::Impl::close_file() {
  LORSA_CHECK(documents_of_file + broken_of_file > 0,
              FormatError,
              path(),
              ": corpus file holds no document (only blank lines)");
  stream.close();
  is_open = false;
  if (file + 1 == config.files.size()) {
    judge_share();
    if (broken > kNamedLines) {
      log_warning("corpus: ", broken, " of ", judged, " lines were skipped as unusable");
    }
  }
  ++file;
}

std::optional<std::string> CorpusReader::Impl::next_line() {
  std::string text;
  while (std::getline(stream, text)) {
    ++line;
    bytes_read += static_cast<int64_t>(text.size()) + 1;
    if (line == 1 && text.starts_with(kByteOrderMark)) {
      text.erase(0, kByteOrderMark.size());
    }
    if (is_blank(text)) {
      continue;
    }
    ++judged;
    const std::string where = concat(path(), ":", line);
    try {
      // The JSON parser refuses invalid UTF-8 and lone surrogates, so the text is valid UTF-8.
      return io::member<std::string>(io::parse_json(text, where), config.text_key, where);
    } catch (const FormatError& error) {
      const std::string message = error.what();
      const bool names_line = message.starts_with(where + ": ");
      skip(where, names_line ? message.substr(where.size() + 2) : message);
    }
  }
  LORSA_CHECK(!stream.bad(), IoError, path(), ": reading failed after line ", line);
  return std::nullopt;
}

std::optional<std::string> CorpusReader::Impl::whole_file() {
  if (line > 0) {
    return std::nullopt;
  }
  ++line;
  std::string text = io::read_file(path());
  bytes_read += static_cast<int64_t>(text.size());
  if (text.starts_with(kByteOrderMark)) {
    text.erase(0, kByteOrderMark.size());
  }
  if (is_blank(text)) {
    return std::nullopt;
  }
  ++judged;
  const size_t invalid = find_invalid_utf8(text);
  if (invalid != std::string::npos) {
    skip(path(), concat("byte ", invalid, " is not valid UTF-8"));
    return std::nullopt;
  }
  return text;
}

std::optional<std::string> CorpusReader::Impl::next_in_file() {
  return kind_of(path()) == FileKind::kJsonLines ? next_line() : whole_file();
}

CorpusReader::CorpusReader(const CorpusConfig& config) : impl_(std::make_unique<Impl>(config)) {
  LORSA_CHECK(!config.files.empty(), ConfigError, "data.files: expected at least one file");
  for (const std::string& file : config.files) {
    kind_of(file);
    impl_->bytes_total += checked_size(file);
  }
}

CorpusReader::~CorpusReader() = default;

std::optional<Document> CorpusReader::next() {
  while (impl_->file < impl_->config.files.size()) {
    if (!impl_->is_open) {
      impl_->open_next();
    }
    std::optional<std::string> text = impl_->next_in_file();
    if (text.has_value()) {
      ++impl_->documents_of_file;
      return Document{std::move(*text), impl_->next_index++};
    }
    impl_->close_file();
  }
  return std::nullopt;
}

std::vector<std::string> CorpusReader::digests() const {
  std::vector<std::string> digests;
  for (const std::string& file : impl_->config.files) {
    digests.push_back(std::filesystem::path(file).filename().string() + " " + io::file_xxh3(file));
  }
  return digests;
}

int64_t CorpusReader::bad_lines() const {
  return impl_->broken;
}

int64_t CorpusReader::bytes_read() const {
  return impl_->bytes_read;
}

int64_t CorpusReader::bytes_total() const {
  return impl_->bytes_total;
}

void describe(config::Fields& fields, CorpusConfig& config) {
  fields
      .text_list("files",
                 config.files,
                 "Documents, read in this order: .jsonl (one object a line) or .txt (one document "
                 "a file), UTF-8.")
      .required();
  fields.text("text_key", config.text_key, "Key of the text in the objects of a .jsonl file.");
  fields.count("context_length", config.context_length, "Tokens in a row of the cache.")
      .between(2, 1 << 20);
  fields.choice("packing",
                config.packing,
                {{"pack", Packing::kPack}, {"truncate", Packing::kTruncate}},
                "pack: documents joined until a row is full; truncate: one document, one row, "
                "short documents dropped.");
  fields.boolean("prepend_bos", config.prepend_bos, "Begin every row with the BOS token.");
  fields
      .count("max_tokens",
             config.max_tokens,
             "Stop once the rows hold this many tokens, held-out rows included.")
      .at_least(1);
  fields
      .number("holdout_fraction",
              config.holdout_fraction,
              "Share of the documents, chosen by hash, that goes into held-out rows.")
      .between(0, 0.9);
  fields
      .number("max_bad_share",
              config.max_bad_share,
              "Share of unusable lines (broken JSON, no text, not UTF-8) that is skipped before "
              "the corpus is refused.")
      .between(0, 1);
}

bool is_heldout(const std::string& text, double fraction) {
  // 53 bits are exact in a double, so the share is in [0, 1) and fraction 1 takes everything.
  const uint64_t bits = io::xxh3(text.data(), text.size()) >> 11;
  return static_cast<double>(bits) * 0x1.0p-53 < fraction;
}

}  // namespace lorsa::data
