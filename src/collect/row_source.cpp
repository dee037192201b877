#include "row_source.h"

#include <algorithm>
#include <deque>
#include <future>

#include "lorsa/core/error.h"
#include "lorsa/core/log.h"

namespace lorsa::collect {
namespace {

/// Batches that wait for the model. Tokenising is 100 times faster than the smallest model's
/// forward pass, so two would do; a long document delivers many at once.
constexpr size_t kBatchesAhead = 8;
/// Text of one tokenising task: enough to make starting a thread for it cheap (about 10 ms of
/// work).
constexpr size_t kTaskBytes = size_t{1} << 16;

struct TokenizedDocument {
  std::vector<int32_t> ids;
  int64_t index = 0;
  bool heldout = false;
};

/// Documents that are tokenised together, and how far the corpus is read behind them.
struct Task {
  std::vector<data::Document> documents;
  int64_t corpus_bytes_read = 0;
};

Task read_task(data::CorpusReader& reader) {
  Task task;
  for (size_t bytes = 0; bytes < kTaskBytes;) {
    std::optional<data::Document> document = reader.next();
    if (!document.has_value()) {
      break;
    }
    bytes += document->text.size() + (document->ids ? sizeof(int32_t) * document->ids->size() : 0);
    task.documents.push_back(std::move(*document));
  }
  task.corpus_bytes_read = reader.bytes_read();
  return task;
}

struct TokenizedTask {
  std::vector<TokenizedDocument> documents;
  int64_t corpus_bytes_read = 0;
};

TokenizedTask tokenize(Task task, const lm::Tokenizer& tokenizer, double holdout_fraction) {
  TokenizedTask done;
  done.corpus_bytes_read = task.corpus_bytes_read;
  done.documents.reserve(task.documents.size());
  for (data::Document& document : task.documents) {
    const bool heldout = data::is_heldout(document, holdout_fraction);
    done.documents.push_back({document.ids
                                  ? std::move(*document.ids)
                                  : tokenizer.encode(document.text, lm::SpecialTokens::kNone),
                              document.index, heldout});
  }
  return done;
}

void check_ids(const TokenizedDocument& document, int64_t vocabulary_size) {
  const auto largest = std::max_element(document.ids.begin(), document.ids.end());
  LORSA_CHECK(largest == document.ids.end() || *largest < vocabulary_size, FormatError,
              "document {}: found id {}, but the model's vocabulary has {} entries (do the "
              "tokenizer, or the tokens of the corpus, and the weights belong together?)",
              document.index, *largest, vocabulary_size);
}

}  // namespace

data::SpecialIds special_ids(const lm::Tokenizer& tokenizer) {
  return {tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id(), tokenizer.unscored_ids()};
}

RowSource::RowSource(const data::CorpusConfig& config,
                     const lm::Tokenizer& tokenizer,
                     const RowSourceOptions& options)
    : config_(config),
      tokenizer_(tokenizer),
      options_(options),
      reader_(config, data::Packer::separator(special_ids(tokenizer))),
      packer_(config, special_ids(tokenizer)),
      corpus_bytes_(reader_.bytes_total()),
      queue_(kBatchesAhead),
      thread_([this] { run(); }) {}

RowSource::~RowSource() {
  queue_.abandon();
  thread_.join();
}

RowBatch RowSource::next() {
  std::optional<RowBatch> batch = queue_.pop();
  // The thread is behind its last change of rows_delivered_ when the queue is closed.
  return batch.has_value() ? std::move(*batch) : RowBatch{rows_delivered_, {}};
}

double RowSource::rows_per_byte() const {
  const auto bytes = static_cast<double>(bytes_packed_.load());
  return bytes > 0 ? static_cast<double>(rows_made_.load()) / bytes : 0.0;
}

void RowSource::run() {
  try {
    produce();
    queue_.close();
  } catch (...) {
    queue_.fail(std::current_exception());
  }
}

void RowSource::produce() {
  std::deque<std::future<TokenizedTask>> in_work;
  std::vector<data::Row> rows;
  bool corpus_ended = false;
  bool wanted = true;
  while (wanted) {
    while (!corpus_ended && in_work.size() < static_cast<size_t>(options_.num_tokenizers)) {
      Task task = read_task(reader_);
      corpus_ended = task.documents.empty();
      if (!corpus_ended) {
        in_work.push_back(std::async(std::launch::async, [this, moved = std::move(task)]() mutable {
          return tokenize(std::move(moved), tokenizer_, config_.holdout_fraction);
        }));
      }
    }
    if (in_work.empty()) {
      deliver(rows, Rest::kDeliver);
      return;
    }
    const TokenizedTask task = in_work.front().get();
    in_work.pop_front();
    for (const TokenizedDocument& document : task.documents) {
      check_ids(document, options_.vocabulary_size);
      const size_t before = rows.size();
      packer_.add(document.ids, document.index, document.heldout, rows);
      say_what_is_left_out();
      rows_made_ += static_cast<int64_t>(rows.size() - before);
      wanted = wanted && deliver(rows, Rest::kKeep);
    }
    bytes_packed_ = task.corpus_bytes_read;
  }
}

void RowSource::say_what_is_left_out() {
  const auto say = [&](bool& said, const data::LeftOut& left_out, const char* where) {
    if (!said && left_out.documents > 0) {
      said = true;
      log_info(
          "corpus: document {} brings {} (id {}) itself {}: left out there and in others like it",
          left_out.first, tokenizer_.token_text(left_out.token), left_out.token, where);
    }
  };
  say(own_beginning_said_, packer_.own_beginnings(),
      "at its beginning, though data.prepend_bos = true begins every row with BOS");
  say(own_end_said_, packer_.own_ends(),
      "at its end, though data.packing = pack puts a separator between documents");
}

/// Hands the full batches of `rows` over and keeps the rest there. False once nobody takes rows or
/// max_rows are delivered.
bool RowSource::deliver(std::vector<data::Row>& rows, Rest rest) {
  size_t taken = 0;
  bool wanted = true;
  while (wanted && rows_delivered_ < options_.max_rows && taken < rows.size()) {
    const int64_t most = std::min(options_.batch_rows, options_.max_rows - rows_delivered_);
    const int64_t size = std::min(most, static_cast<int64_t>(rows.size() - taken));
    if (size < most && rest == Rest::kKeep) {
      break;
    }
    const auto first = rows.begin() + static_cast<std::ptrdiff_t>(taken);
    const auto last = first + size;
    if (options_.wanted(rows_delivered_)) {
      wanted = queue_.push(
          {rows_delivered_, {std::make_move_iterator(first), std::make_move_iterator(last)}});
    }
    taken += static_cast<size_t>(size);
    rows_delivered_ += size;
  }
  rows.erase(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(taken));
  return wanted && rows_delivered_ < options_.max_rows;
}

}  // namespace lorsa::collect
