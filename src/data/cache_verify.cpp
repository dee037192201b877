#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "data/attention_file.h"
#include "data/shard_format.h"
#include "data/shard_record.h"
#include "data/writer_lock.h"
#include "io/file_descriptor.h"
#include "lorsa/core/error.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/io/checksum.h"

namespace lorsa::data {
namespace {

/// Counts of what the rows say, to be held against the manifest.
struct RowTotals {
  int64_t rows = 0;
  int64_t heldout_rows = 0;
  int64_t scored_tokens = 0;
};

using Report =
    std::function<void(const std::string& file, int64_t row, const std::string& message)>;

/// Reads one shard from beginning to end, row by row.
class ShardVerifier {
 public:
  ShardVerifier(const std::filesystem::path& folder,
                const ShardInfo& info,
                const Manifest& manifest,
                const Report& report)
      : name_(info.file),
        manifest_(manifest),
        report_(report),
        shard_(folder / info.file, manifest, info.num_rows),
        // One for each long dataset: the kernel reads ahead by open file.
        input_file_(shard_.open()),
        target_file_(shard_.open()),
        label_file_(shard_.open()) {}

  void check_structure(const std::string& expected) const {
    const std::string found = structure_checksum(label_file_, shard_.path(), shard_.datasets());
    if (found != expected) {
      report_(
          name_, -1,
          formatted(
              "bytes outside the rows (HDF5 structures, /checksum): expected checksum {}, found {}",
              expected, found));
    }
  }

  template <typename OnRow>
  void check_rows(RowTotals& totals, const OnRow& on_row) {
    const size_t num_sums = num_row_sums(manifest_.schema);
    std::vector<uint64_t> sums(num_sums * static_cast<size_t>(shard_.num_rows()));
    shard_.read(label_file_, kChecksum, 0, shard_.num_rows(), sums.data());
    for (int64_t row = 0; row < shard_.num_rows(); ++row) {
      const uint64_t* expected = sums.data() + num_sums * static_cast<size_t>(row);
      check_activation(input_file_, kInput, kInputScale, row, expected[kInputSum], "/input");
      if (shard_.has(kTarget)) {
        check_activation(target_file_, kTarget, kTargetScale, row, expected[kTargetSum], "/target");
      }
      check_labels(row, num_sums > kLabelSum ? &expected[kLabelSum] : nullptr, totals);
      totals.rows += 1;
      on_row(row + 1);
    }
  }

 private:
  void check_activation(const io::FileDescriptor& file,
                        ShardPart part,
                        ShardPart scale_part,
                        int64_t row,
                        uint64_t expected,
                        const char* dataset) {
    io::Xxh3 hash;
    bytes_.resize(shard_.row_bytes(part));
    shard_.read_hashed(file, part, row, 1, bytes_.data(), hash);
    if (shard_.has(scale_part)) {
      bytes_.resize(shard_.row_bytes(scale_part));
      shard_.read_hashed(file, scale_part, row, 1, bytes_.data(), hash);
    }
    if (hash.digest() != expected) {
      report_(name_, row,
              formatted("{}: expected the bytes of its checksum, found others", dataset));
    }
  }

  void check_labels(int64_t row, const uint64_t* expected, RowTotals& totals) {
    const auto length = static_cast<size_t>(manifest_.context_length);
    std::vector<int32_t> tokens(length);
    std::vector<uint8_t> scored(length);
    int64_t document = 0;
    uint8_t heldout = 0;
    io::Xxh3 hash;
    shard_.read_hashed(label_file_, kTokens, row, 1, tokens.data(), hash);
    shard_.read_hashed(label_file_, kScored, row, 1, scored.data(), hash);
    shard_.read_hashed(label_file_, kDocument, row, 1, &document, hash);
    shard_.read_hashed(label_file_, kHeldout, row, 1, &heldout, hash);
    if (expected != nullptr && hash.digest() != *expected) {
      report_(
          name_, row,
          "/tokens, /scored, /document or /heldout: expected the bytes of their checksum, found "
          "others");
    }
    if (heldout > 1) {
      report_(name_, row,
              formatted("/heldout: expected 0 or 1, found {}", static_cast<int>(heldout)));
    }
    totals.heldout_rows += heldout;
    for (const uint8_t one : scored) {
      totals.scored_tokens += one;
    }
    check_scored(row, tokens, scored);
  }

  void check_scored(int64_t row,
                    const std::vector<int32_t>& tokens,
                    const std::vector<uint8_t>& scored) const {
    const std::vector<int64_t>& unscored = manifest_.unscored_ids;
    for (size_t i = 0; i < tokens.size(); ++i) {
      const bool special = std::find(unscored.begin(), unscored.end(), tokens[i]) != unscored.end();
      if (tokens[i] < 0) {
        report_(name_, row,
                formatted("/tokens: position {}: expected an id, found {}", i, tokens[i]));
        return;
      }
      if (scored[i] != (special ? 0 : 1)) {
        report_(name_, row,
                formatted("/scored: position {}: expected {} for token {}, found {}", i,
                          special ? 0 : 1, tokens[i], static_cast<int>(scored[i])));
        return;
      }
    }
  }

  const std::string name_;
  const Manifest& manifest_;
  const Report& report_;
  const ShardFile shard_;
  const io::FileDescriptor input_file_;
  const io::FileDescriptor target_file_;
  const io::FileDescriptor label_file_;
  std::vector<char> bytes_;
};

int64_t size_of(const std::filesystem::path& path) {
  std::error_code ignored;
  const auto size = std::filesystem::file_size(path, ignored);
  return ignored ? 0 : static_cast<int64_t>(size);
}

class Verifier {
 public:
  Verifier(std::filesystem::path folder,
           Manifest manifest,
           const std::function<void(int64_t, int64_t)>& on_bytes)
      : folder_(std::move(folder)), manifest_(std::move(manifest)), on_bytes_(on_bytes) {
    bytes_total_ = size_of(folder_ / kAttentionFile);
    for (const ShardInfo& shard : manifest_.shards) {
      bytes_total_ += size_of(folder_ / shard.file);
    }
  }

  std::vector<Defect> run() {
    if (!manifest_.complete) {
      add(kManifestFile, -1, "expected a complete cache, found an unfinished one");
    }
    if (manifest_.attention) {
      guarded(kAttentionFile, [&] { static_cast<void>(load_attention(folder_, manifest_)); });
      report_bytes(size_of(folder_ / kAttentionFile));
      bytes_before_ += size_of(folder_ / kAttentionFile);
    }
    check_names();
    for (const ShardInfo& shard : manifest_.shards) {
      guarded(shard.file, [&] { check_shard(shard); });
      const int64_t size = size_of(folder_ / shard.file);
      report_bytes(size);
      bytes_before_ += size;
    }
    // Counts mean something only if every row could be looked at.
    if (totals_.rows == manifest_.num_rows) {
      check_count("num_heldout_rows", manifest_.num_heldout_rows, totals_.heldout_rows);
      check_count("num_scored_tokens", manifest_.num_scored_tokens, totals_.scored_tokens);
    }
    return std::move(defects_);
  }

 private:
  void add(const std::string& file, int64_t row, const std::string& message) {
    defects_.push_back({file, row, message});
  }

  template <typename Check>
  void guarded(const std::string& file, const Check& check) {
    try {
      check();
    } catch (const Error& error) {
      add(file, -1, error.what());
    }
  }

  void report_bytes(int64_t of_this_file) const {
    if (on_bytes_) {
      on_bytes_(bytes_before_ + of_this_file, bytes_total_);
    }
  }

  // An unfinished cache has more files, which the next extraction needs or removes.
  void check_names() {
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      const std::string name = entry.path().filename().string();
      const bool listed = std::any_of(manifest_.shards.begin(), manifest_.shards.end(),
                                      [&](const ShardInfo& shard) { return shard.file == name; });
      if (listed || !manifest_.complete) {
        continue;
      }
      if (name.ends_with(".tmp") || is_lock_file_name(name)) {
        add(name, -1, "expected no temporary files, found one of an interrupted run");
      } else if (shard_index(name).has_value() || record_index(name).has_value()) {
        add(name, -1, "expected only shards that the manifest lists, found another");
      }
    }
  }

  void check_count(const std::string& key, int64_t expected, int64_t found) {
    if (expected != found) {
      add(kManifestFile, -1,
          formatted("{}: expected {}, found {} in the rows", key, expected, found));
    }
  }

  void check_shard(const ShardInfo& info) {
    const Report report = [this](const std::string& file, int64_t row, const std::string& message) {
      add(file, row, message);
    };
    const int64_t size = size_of(folder_ / info.file);
    if (manifest_.schema == 1) {
      const std::string checksum = io::file_xxh3(folder_ / info.file);
      if (checksum != info.checksum) {
        add(info.file, -1, formatted("expected checksum {}, found {}", info.checksum, checksum));
      }
    }
    ShardVerifier verifier(folder_, info, manifest_, report);
    if (manifest_.schema > 1) {
      verifier.check_structure(info.checksum);
    }
    verifier.check_rows(totals_, [&](int64_t rows) {
      report_bytes(static_cast<int64_t>(static_cast<double>(size) * static_cast<double>(rows) /
                                        static_cast<double>(info.num_rows)));
    });
  }

  std::filesystem::path folder_;
  Manifest manifest_;
  const std::function<void(int64_t, int64_t)>& on_bytes_;
  std::vector<Defect> defects_;
  RowTotals totals_;
  int64_t bytes_before_ = 0;  // of the files behind us
  int64_t bytes_total_ = 0;
};

}  // namespace

std::vector<Defect> verify_cache(const std::filesystem::path& folder,
                                 const std::function<void(int64_t, int64_t)>& on_bytes) {
  try {
    return Verifier(folder, read_manifest(folder), on_bytes).run();
  } catch (const FormatError& error) {
    return {{kManifestFile, -1, error.what()}};
  }
}

}  // namespace lorsa::data
