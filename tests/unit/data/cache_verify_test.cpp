#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "cache_fixture.h"
#include "data/shard_format.h"
#include "io/hdf5.h"
#include "lorsa/core/error.h"
#include "lorsa/data/cache_reader.h"

namespace lorsa::data {
namespace {

using test_cache::bytes_of;
using test_cache::rows;
using test_cache::write_cache;

const Defect& require_defect(const std::vector<Defect>& defects,
                             const std::string& file,
                             int64_t row,
                             const std::string& part) {
  for (const Defect& defect : defects) {
    if (defect.file == file && defect.row == row &&
        defect.message.find(part) != std::string::npos) {
      return defect;
    }
  }
  for (const Defect& defect : defects) {
    UNSCOPED_INFO(defect.file << " row " << defect.row << ": " << defect.message);
  }
  FAIL("no defect of " << file << " row " << row << " with \"" << part << "\"");
  return defects.front();
}

TEST_CASE("a sound cache has no defects and its bytes are reported as they are read", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 9);
  int64_t bytes = 0;
  for (const auto& [name, digest] : test_cache::contents(folder.path())) {
    bytes += name == "manifest.json"
                 ? 0
                 : static_cast<int64_t>(std::filesystem::file_size(folder / name));
  }
  std::vector<int64_t> done;
  REQUIRE(verify_cache(folder.path(), [&](int64_t bytes_done, int64_t total) {
            REQUIRE(total == bytes);
            REQUIRE((done.empty() || done.back() <= bytes_done));
            done.push_back(bytes_done);
          }).empty());
  REQUIRE(done.size() >= 9);
  REQUIRE(done.back() == bytes);
}

TEST_CASE("flipped bits are found with file and row", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 9);
  test_cache::flip_bit(folder / "shard-00000.h5",
                       bytes_of(rows(1, 1).input_BTD[0].to(at::kBFloat16)));
  test_cache::flip_bit(folder / "shard-00001.h5",
                       bytes_of(rows(7, 1).target_BTD[0].to(at::kBFloat16)));
  const std::vector<Defect> defects = verify_cache(folder.path(), {});
  require_defect(defects, "shard-00000.h5", 1, "/input");
  require_defect(defects, "shard-00001.h5", 3, "/target");
  REQUIRE(defects.size() == 2);
}

TEST_CASE("wrong tokens, scored flags and held-out flags are found", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 4);
  const auto path = folder / "shard-00000.h5";
  const auto datasets =
      io::locate_hdf5_datasets(path, shard_datasets(read_manifest(folder.path()), 4), kShardMark);
  std::string content = io::read_file(path);
  const auto byte = [&](ShardPart part, size_t index) -> char& {
    return content[datasets[part].offset + index];
  };
  byte(kTokens, 4 * 11 + 3) = '\x80';  // row 2, position 1 becomes negative
  REQUIRE(byte(kScored, 0) == 0);
  byte(kScored, 0) = 1;  // row 0's BOS
  REQUIRE(byte(kScored, 5 + 4) == 1);
  byte(kScored, 5 + 4) = 0;  // row 1's last token
  byte(kScored, 15 + 1) = 7;
  REQUIRE(byte(kHeldout, 3) == 1);
  byte(kHeldout, 3) = 3;
  io::write_file(path, content);
  const std::vector<Defect> defects = verify_cache(folder.path(), {});
  for (int64_t row = 0; row < 4; ++row) {
    require_defect(defects, "shard-00000.h5", row, "expected the bytes of their checksum");
  }
  require_defect(defects, "shard-00000.h5", 0, "/scored: position 0: expected 0 for token 0");
  require_defect(defects, "shard-00000.h5", 1, "/scored: position 4: expected 1 for token");
  require_defect(defects, "shard-00000.h5", 2, "/tokens: position 1: expected an id");
  require_defect(defects, "shard-00000.h5", 3, "/scored: position 1: expected 1 for token");
  require_defect(defects, "shard-00000.h5", 3, "/heldout: expected 0 or 1, found 3");
  require_defect(defects, "manifest.json", -1, "num_heldout_rows: expected 1, found 3");
}

TEST_CASE("missing, extra, cut and temporary files are found", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 12);
  io::write_file(folder / "shard-00007.h5", "extra");
  io::write_file(folder / "shard-00003.h5.tmp", "half");
  std::filesystem::remove(folder / "shard-00000.h5");
  const std::string good = io::read_file(folder / "shard-00002.h5");
  io::write_file(folder / "shard-00002.h5", good.substr(0, good.size() / 2));
  const std::vector<Defect> defects = verify_cache(folder.path(), {});
  require_defect(defects, "shard-00000.h5", -1, "No such file");
  require_defect(defects, "shard-00002.h5", -1, "truncated file");
  require_defect(defects, "shard-00003.h5.tmp", -1, "temporary");
  require_defect(defects, "shard-00007.h5", -1, "manifest lists");
  REQUIRE(defects.size() == 4);
}

TEST_CASE("attention weights and counts are held against the manifest", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 4);
  io::write_file(folder / "attention.safetensors",
                 io::read_file(test::golden("cache_v1/attention.safetensors")));
  const std::string scored = std::to_string(read_manifest(folder.path()).num_scored_tokens);
  test_cache::edit_sealed(folder / "manifest.json", "\"num_scored_tokens\": " + scored,
                          "\"num_scored_tokens\": 1");
  const std::vector<Defect> defects = verify_cache(folder.path(), {});
  require_defect(defects, "attention.safetensors", -1, "checksum");
  require_defect(defects, "manifest.json", -1, "num_scored_tokens: expected 1, found " + scored);
  REQUIRE(defects.size() == 2);
}

TEST_CASE("an unfinished cache and a broken manifest are defects, no cache is an error", "[data]") {
  const test::TempDir folder;
  REQUIRE_THROWS_AS(verify_cache(folder.path(), {}), IoError);
  {
    CacheWriter writer(folder.path(), test_cache::plan(), test_cache::attention(), 4);
    writer.append(rows(0, 4));
  }
  const std::vector<Defect> unfinished = verify_cache(folder.path(), {});
  require_defect(unfinished, "manifest.json", -1, "unfinished");
  REQUIRE(unfinished.size() == 1);
  io::write_file(folder / "manifest.json", "{\"schema\": 9}");
  require_defect(verify_cache(folder.path(), {}), "manifest.json", -1, "expected 1 to 3, found 9");
}

}  // namespace
}  // namespace lorsa::data
