#include "lorsa/data/cache_writer.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "data/attention_file.h"
#include "data/plan_difference.h"
#include "data/shard_format.h"
#include "data/shard_record.h"
#include "data/shard_writer.h"
#include "data/stored_rows.h"
#include "data/writer_lock.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/progress.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/io/checksum.h"
#include "lorsa/io/files.h"

namespace lorsa::data {
namespace {

bool is_temporary(const std::string& name) {
  return name.ends_with(".tmp");
}

/// Rows [first, first + count) of `rows`.
RowBlock slice(const RowBlock& rows, int64_t first, int64_t count) {
  RowBlock part;
  part.input_BTD = rows.input_BTD.narrow(0, first, count);
  part.target_BTD = rows.target_BTD.narrow(0, first, count);
  part.tokens_BT = rows.tokens_BT.narrow(0, first, count);
  part.scored_BT = rows.scored_BT.narrow(0, first, count);
  part.document.assign(rows.document.begin() + first, rows.document.begin() + first + count);
  part.heldout.assign(rows.heldout.begin() + first, rows.heldout.begin() + first + count);
  return part;
}

/// The shard that a file in a cache's folder belongs to, whatever its suffixes: that of
/// "shard-00003.h5.short.tmp" is 3.
std::optional<int64_t> shard_of_file(const std::string& name) {
  const size_t end = name.find('.');
  return end == std::string::npos ? std::nullopt : shard_index(name.substr(0, end) + ".h5");
}

void check_plan(const Manifest& plan, int64_t rows_per_shard, const WriterRank& rank) {
  LORSA_CHECK(rank.world_size >= 1 && rank.rank >= 0 && rank.rank < rank.world_size, ConfigError,
              "rank: expected 0 to {}, found {}", rank.world_size - 1, rank.rank);
  const auto positive = [](const char* name, int64_t value) {
    LORSA_CHECK(value > 0, ConfigError, "{}: expected 1 or more, found {}", name, value);
  };
  positive("rows_per_shard", rows_per_shard);
  positive("context_length", plan.context_length);
  positive("d_model", plan.d_model);
}

}  // namespace

struct CacheWriter::Impl {
  Impl(const std::filesystem::path& cache_folder,
       const Manifest& plan,
       const kernels::Mhsa& attention,
       int64_t rows_per_shard,
       const WriterRank& part)
      : folder(prepared(cache_folder, plan, rows_per_shard, part)),
        rank(part),
        manifest(plan),
        lock(std::in_place, folder, part.rank, part.world_size) {
    manifest.schema = Manifest::kSchema;
    manifest.rows_per_shard = rows_per_shard;
    const bool there = std::filesystem::exists(folder / kManifestFile);
    if (!there && rank.rank == 0) {
      start_cache(attention);
      return;
    }
    if (!there) {
      wait_for("rank 0 to begin the cache", 0,
               [&] { return std::filesystem::exists(folder / kManifestFile); });
    }
    continue_cache();
  }

  static std::filesystem::path prepared(const std::filesystem::path& folder,
                                        const Manifest& plan,
                                        int64_t rows_per_shard,
                                        const WriterRank& part) {
    check_plan(plan, rows_per_shard, part);
    io::make_directories(folder);
    return folder;
  }

  void start_cache(const kernels::Mhsa& attention) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      LORSA_CHECK(name == kAttentionFile || is_temporary(name) || is_lock_file_name(name),
                  ConfigError,
                  "{}: expected an empty folder or an activation cache, found {} without {}",
                  folder, name, kManifestFile);
    }
    remove_leftovers();
    manifest.complete = false;
    if (manifest.site.component == Component::kAttention) {
      manifest.attention = save_attention(folder, attention, manifest.d_model);
    }
    write_manifest(folder, manifest);
  }

  void continue_cache() {
    Manifest before = read_manifest(folder);
    LORSA_CHECK(before.complete || before.schema == Manifest::kSchema, ConfigError,
                "{}: holds an unfinished cache of format {}, which this version cannot continue "
                "(take another folder, or delete this one)",
                folder, before.schema);
    const std::string differences = plan_difference(before, manifest);
    LORSA_CHECK(differences.empty(), ConfigError,
                "{}: expected the configuration that this cache was begun with, found other values "
                "(take another folder, or delete this one):{}",
                folder, differences);
    manifest = std::move(before);
    if (manifest.attention) {
      const std::string checksum = io::file_xxh3(folder / kAttentionFile);
      LORSA_CHECK(checksum == manifest.attention->checksum, FormatError,
                  "{}: expected checksum {}, found {}", folder / kAttentionFile,
                  manifest.attention->checksum, checksum);
    }
    for (const ShardInfo& info : manifest.shards) {
      const int64_t number = data::shard_number(info);
      if (owns(number)) {
        const ShardFile checked(folder / info.file, manifest, info.num_rows);
      }
      finished.insert(number);
    }
    num_rows = manifest.num_rows;
    while (finished.contains(next_row / manifest.rows_per_shard)) {
      next_row += manifest.rows_per_shard;
    }
    already_complete = manifest.complete;
    if (already_complete) {
      lock.reset();
    } else {
      remove_leftovers();
    }
  }

  [[nodiscard]] bool owns(int64_t number) const { return number % rank.world_size == rank.rank; }

  [[nodiscard]] bool wants_shard(int64_t number) const {
    return owns(number) && !finished.contains(number);
  }

  // What an interrupted run left: temporary files, and a shard renamed just before its record was
  // written. Each rank removes what would have been its own, for the others may be writing already.
  void remove_leftovers() const {
    std::vector<std::filesystem::path> leftovers;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      const std::optional<int64_t> of_shard = shard_of_file(name);
      const bool own = of_shard.has_value() ? owns(*of_shard) : rank.rank == 0;
      const std::optional<int64_t> whole_shard = shard_index(name);
      if (own &&
          (is_temporary(name) || (whole_shard.has_value() && !finished.contains(*whole_shard)))) {
        leftovers.push_back(entry.path());
      }
    }
    for (const std::filesystem::path& path : leftovers) {
      std::error_code error;
      std::filesystem::remove(path, error);
      LORSA_CHECK(!error, IoError, "{}: cannot remove: {}", path, error.message());
    }
  }

  void append(int64_t first_row, const RowBlock& rows) {
    LORSA_CHECK(lock.has_value(), Error, "{}: rows behind the end of the cache", folder);
    LORSA_CHECK(!failed, IoError, "{}: an earlier write failed", folder);
    check_rows(rows, manifest);

    // All of it is checked before any of it is written.
    struct Piece {
      int64_t first_row;
      StoredRows rows;
    };

    std::vector<Piece> pieces;
    const auto count = static_cast<int64_t>(rows.document.size());
    for (int64_t done = 0; done < count;) {
      const int64_t row = first_row + done;
      const int64_t in_shard = row % manifest.rows_per_shard;
      const int64_t size = std::min(count - done, manifest.rows_per_shard - in_shard);
      if (wants_shard(row / manifest.rows_per_shard)) {
        pieces.push_back({row, make_stored_rows(slice(rows, done, size), manifest, row)});
      }
      done += size;
    }
    try {
      for (const Piece& piece : pieces) {
        store(piece.first_row, piece.rows);
      }
    } catch (...) {
      failed = true;
      shard.reset();  // removes its temporary file now: the disk may be full
      throw;
    }
    next_row = first_row + count;
  }

  /// `rows` lie in one shard.
  void store(int64_t first_row, const StoredRows& rows) {
    const int64_t number = first_row / manifest.rows_per_shard;
    const int64_t in_shard = first_row % manifest.rows_per_shard;
    if (!shard) {
      open_shard(number);
    }
    LORSA_CHECK(number == open_number && in_shard == shard->num_rows(), Error,
                "{}: expected row {} next, found row {}", folder,
                open_number * manifest.rows_per_shard + shard->num_rows(), first_row);
    shard->append(rows, 0, rows.num_rows());
    for (size_t row = 0; row < rows.document.size(); ++row) {
      add_sums(record.sums, rows.sums[row]);
      record.num_heldout_rows += rows.heldout[row];
      record.num_scored_tokens += rows.scored_count[row];
    }
    if (shard->room() == 0) {
      close_shard();
    }
  }

  void open_shard(int64_t number) {
    lock->check_in_place();
    open_number = number;
    record = ShardRecord{};
    record.info.file = shard_file_name(static_cast<size_t>(number));
    record.sums.target.assign(static_cast<size_t>(manifest.d_model), 0.0);
    shard.emplace(folder / record.info.file, manifest, manifest.rows_per_shard);
  }

  void close_shard() {
    lock->check_in_place();
    record.info.num_rows = shard->num_rows();
    record.info.checksum = shard->finish();
    shard.reset();
    write_shard_record(folder, record);
    finished.insert(open_number);
    num_rows += record.info.num_rows;
  }

  void finish(int64_t total_rows) {
    if (!lock) {
      return;
    }
    LORSA_CHECK(!failed, IoError, "{}: an earlier write failed", folder);
    LORSA_CHECK(total_rows > 0, FormatError, "{}: expected at least one row of {} tokens", folder,
                manifest.context_length);
    if (shard) {
      const int64_t end = open_number * manifest.rows_per_shard + shard->num_rows();
      LORSA_CHECK(end == total_rows, Error, "{}: expected rows up to {}, found {}", folder,
                  total_rows, end);
      try {
        close_shard();
      } catch (...) {
        failed = true;
        shard.reset();
        throw;
      }
    }
    const int64_t num_shards = (total_rows + manifest.rows_per_shard - 1) / manifest.rows_per_shard;
    for (int64_t number = rank.rank; number < num_shards; number += rank.world_size) {
      LORSA_CHECK(finished.contains(number), Error, "{}: rows of {} were never appended", folder,
                  shard_file_name(static_cast<size_t>(number)));
    }
    if (rank.rank == 0) {
      wait_for_shards(num_shards);
      complete(total_rows, num_shards);
    }
    lock.reset();
  }

  void wait_for_shards(int64_t num_shards) const {
    for (int64_t number = 0; number < num_shards; ++number) {
      if (!owns(number)) {
        const std::filesystem::path path = folder / record_file_name(number);
        const int64_t owner = number % rank.world_size;
        wait_for(
            formatted("rank {} to finish {}", owner, shard_file_name(static_cast<size_t>(number))),
            owner, [&] { return std::filesystem::exists(path); });
      }
    }
  }

  /// Waits until `done`; gives up when `other` was alive and is not any more, or after the
  /// time-out.
  template <typename Done>
  void wait_for(const std::string& what, int64_t other, const Done& done) const {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point start = Clock::now();
    bool was_alive = false;
    bool said = false;
    while (!done()) {
      const bool alive = WriterLock::is_held(folder, other);
      LORSA_CHECK(alive || !was_alive || done(), DeviceError,
                  "{}: waiting for {}, but that rank has ended; run the same command again", folder,
                  what);
      was_alive = was_alive || alive;
      const double waited = std::chrono::duration<double>(Clock::now() - start).count();
      LORSA_CHECK(waited < rank.timeout_s, DeviceError,
                  "{}: waited {} for {}; run the same command again to go on", folder,
                  format_duration(waited), what);
      if (StopSignal::requested()) {
        throw Interrupted(formatted("stopped by a signal while waiting for {}", what));
      }
      if (waited > 5.0 && !said) {
        said = true;
        log_info("{}: waiting for {}", folder, what);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

  void complete(int64_t total_rows, int64_t num_shards) {
    lock->check_in_place();
    const std::vector<ShardRecord> records = read_shard_records(folder, manifest.d_model);
    Manifest whole = manifest;
    set_totals(whole, records);
    LORSA_CHECK(whole.num_rows == total_rows && static_cast<int64_t>(records.size()) == num_shards,
                FormatError, "{}: expected {} rows in {} shards, found records of {} in {}", folder,
                total_rows, num_shards, whole.num_rows, records.size());
    whole.complete = true;
    write_manifest(folder, whole);
    manifest = std::move(whole);
    for (int64_t number = 0; number < num_shards; ++number) {
      std::error_code ignored;  // the manifest holds all that a record says
      std::filesystem::remove(folder / record_file_name(number), ignored);
    }
  }

  std::filesystem::path folder;
  WriterRank rank;
  Manifest manifest;               // what the file says
  std::optional<WriterLock> lock;  // until there is nothing left to write
  std::set<int64_t> finished;      // shards, as far as known here
  int64_t num_rows = 0;            // in them
  int64_t next_row = 0;            // of append() without a number
  bool already_complete = false;
  bool failed = false;
  std::optional<ShardWriter> shard;  // the open one
  int64_t open_number = 0;
  ShardRecord record;
};

CacheWriter::CacheWriter(const std::filesystem::path& folder,
                         const Manifest& plan,
                         const kernels::Mhsa& attention,
                         int64_t rows_per_shard,
                         const WriterRank& rank)
    : impl_(std::make_unique<Impl>(folder, plan, attention, rows_per_shard, rank)) {}

CacheWriter::~CacheWriter() = default;

int64_t CacheWriter::num_rows() const {
  return impl_->num_rows;
}

bool CacheWriter::already_complete() const {
  return impl_->already_complete;
}

bool CacheWriter::wants(int64_t row) const {
  return !impl_->manifest.complete && impl_->wants_shard(row / impl_->manifest.rows_per_shard);
}

void CacheWriter::append_at(int64_t first_row, const RowBlock& rows) {
  impl_->append(first_row, rows);
}

void CacheWriter::append(const RowBlock& rows) {
  impl_->append(impl_->next_row, rows);
}

void CacheWriter::finish(int64_t num_rows) {
  impl_->finish(num_rows);
}

void CacheWriter::finish() {
  impl_->finish(impl_->next_row);
}

void remove_leftovers_of_complete_cache(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> leftovers;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (record_index(name).has_value() || is_temporary(name) || is_lock_file_name(name)) {
      leftovers.push_back(entry.path());
    }
  }
  if (leftovers.empty()) {
    return;
  }
  // Removes its own file; that of another rank is removed below.
  const WriterLock nobody_writes(folder, 0, 1);
  for (const std::filesystem::path& path : leftovers) {
    std::error_code error;
    std::filesystem::remove(path, error);
    LORSA_CHECK(!error, IoError, "{}: cannot remove: {}", path, error.message());
  }
}

}  // namespace lorsa::data
