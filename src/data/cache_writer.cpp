#include "lorsa/data/cache_writer.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "data/attention_file.h"
#include "data/manifest_json.h"
#include "data/shard_format.h"
#include "data/shard_writer.h"
#include "data/stored_rows.h"
#include "io/file_descriptor.h"
#include "lorsa/core/error.h"
#include "lorsa/io/checksum.h"
#include "lorsa/io/files.h"

namespace lorsa::data {
namespace {

bool is_temporary(const std::string& name) {
  return name.ends_with(".tmp");
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

/// Lines of `text` that `other` does not have, each behind `sign`.
std::string lines_only_in(const std::string& text, const std::string& other, const char* sign) {
  std::vector<std::string> known_lines = lines_of(other);
  const std::multiset<std::string> known(known_lines.begin(), known_lines.end());
  std::string result;
  for (const std::string& line : lines_of(text)) {
    if (!known.contains(line)) {
      result += concat("\n  ", sign, " ", line);
    }
  }
  return result;
}

/// Empty if both plans agree.
std::string difference(const Manifest& before, const Manifest& now) {
  const io::Json old_plan = plan_json(before);
  const io::Json new_plan = plan_json(now);
  std::string text;
  for (const auto& [key, value] : old_plan.items()) {
    if (value == new_plan.at(key)) {
      continue;
    }
    if (key != "config") {
      text +=
          concat("\n  ", key, ": ", value.dump(), " in the folder, now ", new_plan.at(key).dump());
      continue;
    }
    text += lines_only_in(before.config_yaml, now.config_yaml, "-");
    text += lines_only_in(now.config_yaml, before.config_yaml, "+");
  }
  // Only the order of lines or their number differs.
  return text.empty() && old_plan != new_plan ? "\n  config" : text;
}

void check_plan(const Manifest& plan, int64_t rows_per_shard) {
  const auto positive = [](const char* name, int64_t value) {
    LORSA_CHECK(value > 0, ConfigError, name, ": expected 1 or more, found ", value);
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
       int64_t rows_per_shard)
      : folder(cache_folder), manifest(plan) {
    check_plan(plan, rows_per_shard);
    manifest.rows_per_shard = rows_per_shard;
    io::make_directories(folder);
    take_lock();
    if (std::filesystem::exists(folder / kManifestFile)) {
      continue_cache();
    } else {
      start_cache(attention);
    }
  }

  // The kernel drops the lock with the process, so a killed extraction leaves none behind.
  void take_lock() {
    lock = io::FileDescriptor(folder, O_RDONLY | O_DIRECTORY);
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      throw IoError(concat(folder.string(), ": another extraction is writing this cache"));
    }
  }

  void start_cache(const kernels::Mhsa& attention) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      LORSA_CHECK(name == kAttentionFile || is_temporary(name),
                  ConfigError,
                  folder.string(),
                  ": expected an empty folder or an activation cache, found ",
                  name,
                  " without ",
                  kManifestFile);
    }
    remove_leftovers();
    manifest.num_rows = 0;
    manifest.num_heldout_rows = 0;
    manifest.num_tokens = 0;
    manifest.num_scored_tokens = 0;
    manifest.shards.clear();
    manifest.complete = false;
    manifest.sums = StatisticsSums{};
    manifest.sums.target.assign(static_cast<size_t>(manifest.d_model), 0.0);
    manifest.attention = save_attention(folder, attention, manifest.d_model);
    write_manifest(folder, manifest);
  }

  void continue_cache() {
    Manifest before = read_manifest(folder);
    const std::string differences = difference(before, manifest);
    LORSA_CHECK(differences.empty(),
                ConfigError,
                folder.string(),
                ": expected the configuration that this cache was begun with, found other values "
                "(take another folder, or delete this one):",
                differences);
    manifest = std::move(before);
    already_complete = manifest.complete;
    const std::string checksum = io::file_xxh3(folder / kAttentionFile);
    LORSA_CHECK(checksum == manifest.attention.checksum,
                FormatError,
                (folder / kAttentionFile).string(),
                ": expected checksum ",
                manifest.attention.checksum,
                ", found ",
                checksum);
    for (const ShardInfo& info : manifest.shards) {
      const ShardFile checked(folder / info.file, manifest, info.num_rows);
    }
    if (!already_complete) {
      remove_leftovers();
    }
  }

  // What an interrupted run left: temporary files, and a shard renamed just before the manifest
  // could list it.
  void remove_leftovers() const {
    std::vector<std::filesystem::path> leftovers;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      const bool listed = std::any_of(manifest.shards.begin(),
                                      manifest.shards.end(),
                                      [&](const ShardInfo& info) { return info.file == name; });
      if (is_temporary(name) || (is_shard_file_name(name) && !listed)) {
        leftovers.push_back(entry.path());
      }
    }
    for (const std::filesystem::path& path : leftovers) {
      std::error_code error;
      std::filesystem::remove(path, error);
      LORSA_CHECK(!error, IoError, path.string(), ": cannot remove: ", error.message());
    }
  }

  void append(const RowBlock& rows) {
    LORSA_CHECK(!manifest.complete, Error, folder.string(), ": the cache is complete");
    LORSA_CHECK(!failed, IoError, folder.string(), ": an earlier write failed");
    const int64_t first_row = manifest.num_rows + (shard ? shard->num_rows() : 0);
    const StoredRows stored = make_stored_rows(rows, manifest, first_row);
    try {
      append(stored);
    } catch (...) {
      failed = true;
      shard.reset();  // removes its temporary file now: the disk may be full
      throw;
    }
  }

  void append(const StoredRows& stored) {
    for (int64_t done = 0; done < stored.num_rows();) {
      if (!shard) {
        open_shard();
      }
      const int64_t count = std::min(stored.num_rows() - done, shard->room());
      shard->append(stored, done, count);
      for (int64_t row = done; row < done + count; ++row) {
        const auto at_row = static_cast<size_t>(row);
        add_sums(pending.sums, stored.sums[at_row]);
        pending.num_heldout_rows += stored.heldout[at_row];
        pending.num_scored_tokens += stored.scored_count[at_row];
      }
      done += count;
      if (shard->room() == 0) {
        close_shard();
      }
    }
  }

  void open_shard() {
    pending = manifest;
    shard.emplace(
        folder / shard_file_name(manifest.shards.size()), manifest, manifest.rows_per_shard);
  }

  void close_shard() {
    const std::string file = shard_file_name(manifest.shards.size());
    const int64_t rows = shard->num_rows();
    shard->finish();
    shard.reset();
    pending.shards.push_back({file, rows, io::file_xxh3(folder / file)});
    pending.num_rows += rows;
    pending.num_tokens += rows * manifest.context_length;
    write_manifest(folder, pending);
    manifest = std::move(pending);
  }

  void finish() {
    if (manifest.complete) {
      return;
    }
    LORSA_CHECK(!failed, IoError, folder.string(), ": an earlier write failed");
    if (shard) {
      try {
        close_shard();
      } catch (...) {
        failed = true;
        shard.reset();
        throw;
      }
    }
    LORSA_CHECK(manifest.num_rows > 0,
                FormatError,
                folder.string(),
                ": expected at least one row of ",
                manifest.context_length,
                " tokens, found none");
    Manifest finished = manifest;
    set_statistics(finished);
    finished.complete = true;
    write_manifest(folder, finished);
    manifest = std::move(finished);
  }

  std::filesystem::path folder;
  Manifest manifest;  // what the file says
  Manifest pending;   // what it will say once the open shard is finished
  bool already_complete = false;
  bool failed = false;
  io::FileDescriptor lock;
  std::optional<ShardWriter> shard;
};

CacheWriter::CacheWriter(const std::filesystem::path& folder,
                         const Manifest& plan,
                         const kernels::Mhsa& attention,
                         int64_t rows_per_shard)
    : impl_(std::make_unique<Impl>(folder, plan, attention, rows_per_shard)) {}

CacheWriter::~CacheWriter() = default;

int64_t CacheWriter::num_rows() const {
  return impl_->manifest.num_rows;
}

bool CacheWriter::already_complete() const {
  return impl_->already_complete;
}

void CacheWriter::append(const RowBlock& rows) {
  impl_->append(rows);
}

void CacheWriter::finish() {
  impl_->finish();
}

}  // namespace lorsa::data
