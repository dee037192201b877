#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "data/attention_file.h"
#include "data/shard_format.h"
#include "io/file_descriptor.h"
#include "lorsa/core/error.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/io/checksum.h"

namespace lorsa::data {
namespace {

class Verifier {
 public:
  Verifier(std::filesystem::path folder,
           Manifest manifest,
           const std::function<void(int64_t, int64_t)>& on_rows)
      : folder_(std::move(folder)), manifest_(std::move(manifest)), on_rows_(on_rows) {}

  std::vector<Defect> run() {
    if (!manifest_.complete) {
      add(kManifestFile, -1, "expected a complete cache, found an unfinished one");
    }
    guarded(kAttentionFile, [&] { static_cast<void>(load_attention(folder_, manifest_)); });
    check_names();
    for (const ShardInfo& shard : manifest_.shards) {
      guarded(shard.file, [&] { check_shard(shard); });
      rows_done_ = rows_before_ += shard.num_rows;
      report();
    }
    // Counts mean something only if every row could be looked at.
    if (rows_seen_ == manifest_.num_rows) {
      check_count("num_heldout_rows", manifest_.num_heldout_rows, heldout_rows_);
      check_count("num_scored_tokens", manifest_.num_scored_tokens, scored_tokens_);
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

  void report() const {
    if (on_rows_) {
      on_rows_(rows_done_, manifest_.num_rows);
    }
  }

  void check_names() {
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      const std::string name = entry.path().filename().string();
      const bool listed = std::any_of(manifest_.shards.begin(),
                                      manifest_.shards.end(),
                                      [&](const ShardInfo& shard) { return shard.file == name; });
      if (name.ends_with(".tmp")) {
        add(name, -1, "expected no temporary files, found one of an interrupted run");
      } else if (is_shard_file_name(name) && !listed) {
        add(name, -1, "expected only shards that the manifest lists, found another");
      }
    }
  }

  void check_count(const std::string& key, int64_t expected, int64_t found) {
    if (expected != found) {
      add(kManifestFile,
          -1,
          concat(key, ": expected ", expected, ", found ", found, " in the rows"));
    }
  }

  void check_shard(const ShardInfo& info) {
    const std::filesystem::path path = folder_ / info.file;
    const std::string checksum = io::file_xxh3(path);
    if (checksum != info.checksum) {
      add(info.file, -1, concat("expected checksum ", info.checksum, ", found ", checksum));
    }
    const ShardFile shard(path, manifest_, info.num_rows);
    const io::FileDescriptor file = shard.open();
    for (int64_t row = 0; row < info.num_rows; ++row) {
      check_row(shard, file, row, info.file);
      ++rows_seen_;
      ++rows_done_;
      report();
    }
  }

  void check_row(const ShardFile& shard,
                 const io::FileDescriptor& file,
                 int64_t row,
                 const std::string& name) {
    std::array<uint64_t, 2> checksum{};
    shard.read(file, kChecksum, row, 1, checksum.data());
    const auto check_activation = [&](ShardPart part, uint64_t expected, const char* dataset) {
      bytes_.resize(shard.row_bytes(part));
      shard.read(file, part, row, 1, bytes_.data());
      if (io::xxh3(bytes_.data(), bytes_.size()) != expected) {
        add(name, row, concat(dataset, ": expected the bytes of its checksum, found others"));
      }
    };
    check_activation(kInput, checksum[0], "/input");
    if (manifest_.store == StoreMode::kInputAndTarget) {
      check_activation(kTarget, checksum[1], "/target");
    }
    check_tokens(shard, file, row, name);
  }

  void check_tokens(const ShardFile& shard,
                    const io::FileDescriptor& file,
                    int64_t row,
                    const std::string& name) {
    const auto length = static_cast<size_t>(manifest_.context_length);
    std::vector<int32_t> tokens(length);
    std::vector<uint8_t> scored(length);
    uint8_t heldout = 0;
    shard.read(file, kTokens, row, 1, tokens.data());
    shard.read(file, kScored, row, 1, scored.data());
    shard.read(file, kHeldout, row, 1, &heldout);
    if (heldout > 1) {
      add(name, row, concat("/heldout: expected 0 or 1, found ", static_cast<int>(heldout)));
    }
    heldout_rows_ += heldout;
    const std::vector<int64_t>& unscored = manifest_.unscored_ids;
    for (size_t i = 0; i < length; ++i) {
      scored_tokens_ += scored[i];
      const bool special = std::find(unscored.begin(), unscored.end(), tokens[i]) != unscored.end();
      if (tokens[i] < 0) {
        add(name, row, concat("/tokens: position ", i, ": expected an id, found ", tokens[i]));
        return;
      }
      if (scored[i] != (special ? 0 : 1)) {
        add(name,
            row,
            concat("/scored: position ",
                   i,
                   ": expected ",
                   special ? 0 : 1,
                   " for token ",
                   tokens[i],
                   ", found ",
                   static_cast<int>(scored[i])));
        return;
      }
    }
  }

  std::filesystem::path folder_;
  Manifest manifest_;
  const std::function<void(int64_t, int64_t)>& on_rows_;
  std::vector<Defect> defects_;
  std::vector<char> bytes_;
  int64_t rows_before_ = 0;  // of the shards behind us
  int64_t rows_done_ = 0;
  int64_t rows_seen_ = 0;
  int64_t heldout_rows_ = 0;
  int64_t scored_tokens_ = 0;
};

}  // namespace

std::vector<Defect> verify_cache(const std::filesystem::path& folder,
                                 const std::function<void(int64_t, int64_t)>& on_rows) {
  try {
    return Verifier(folder, read_manifest(folder), on_rows).run();
  } catch (const FormatError& error) {
    return {{kManifestFile, -1, error.what()}};
  }
}

}  // namespace lorsa::data
