#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "bounded_queue.h"
#include "lorsa/data/corpus.h"
#include "lorsa/lm/tokenizer.h"

namespace lorsa::collect {

/// The tokenizer's ids as the packing of rows needs them.
[[nodiscard]] data::SpecialIds special_ids(const lm::Tokenizer& tokenizer);

struct RowSourceOptions {
  int64_t max_rows = 0;  ///< stop after this many, those not wanted included
  /// Whether the batch that begins with a row is handed out; an earlier run or another rank may
  /// have it. Called on the source's thread.
  std::function<bool(int64_t)> wanted = [](int64_t /*first_row*/) { return true; };
  int64_t batch_rows = 8;       ///< rows of one next()
  int64_t vocabulary_size = 0;  ///< of the model: an id beyond it is a FormatError
  int64_t num_tokenizers = 1;   ///< documents that are tokenised at the same time
};

/// Consecutive rows of an extraction.
struct RowBatch {
  int64_t first_row = 0;
  std::vector<data::Row> rows;
};

/// Turns documents into batches of rows on threads of its own, a few batches ahead of the consumer.
///
/// Rows come in the order in which documents complete them, whatever the number of threads. The
/// first document that brings special tokens which are left out (see data::Packer) is logged.
/// Destroying it early stops the threads. One consumer.
class RowSource {
 public:
  RowSource(const data::CorpusConfig& config,
            const lm::Tokenizer& tokenizer,
            const RowSourceOptions& options);
  ~RowSource();
  RowSource(const RowSource&) = delete;
  RowSource& operator=(const RowSource&) = delete;

  /// Rows first_row .. first_row + batch_rows - 1, first_row a multiple of batch_rows: a resumed
  /// run puts the same rows into the same forward pass, hence the same rounding, as one that was
  /// never ended. Fewer in the last batch; behind it none, with the number of all rows as
  /// first_row. Throws what reading or tokenising threw.
  [[nodiscard]] RowBatch next();

  /// Rows made per byte of the corpus so far; the whole corpus has this many bytes. Any thread.
  [[nodiscard]] double rows_per_byte() const;

  /// Bytes of the corpus, as it lies on the disk, behind which nothing was looked at. Any thread.
  [[nodiscard]] int64_t corpus_bytes_read() const { return bytes_packed_.load(); }

  [[nodiscard]] int64_t corpus_bytes() const { return corpus_bytes_; }

 private:
  void produce();
  void run();
  enum class Rest { kKeep, kDeliver };
  bool deliver(std::vector<data::Row>& rows, Rest rest);
  void say_what_is_left_out();

  const data::CorpusConfig config_;
  const lm::Tokenizer& tokenizer_;
  const RowSourceOptions options_;
  data::CorpusReader reader_;
  data::Packer packer_;
  bool own_beginning_said_ = false;
  bool own_end_said_ = false;
  std::atomic<int64_t> rows_made_{0};     ///< packed into whole rows
  std::atomic<int64_t> bytes_packed_{0};  ///< of the corpus, what they were made of
  int64_t corpus_bytes_ = 0;
  int64_t rows_delivered_ = 0;
  BoundedQueue<RowBatch> queue_;
  std::thread thread_;
};

}  // namespace lorsa::collect
