#include "lorsa/data/cache_reader.h"

#include <ATen/ATen.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "cache_fixture.h"
#include "lorsa/core/error.h"

namespace lorsa::data {
namespace {

using test_cache::bytes_of;
using test_cache::rows;
using test_cache::write_cache;

/// The message of opening a broken cache.
template <typename Failure>
std::string refusal(const std::filesystem::path& folder) {
  return test::message_of<Failure>([&] { const CacheReader reader(folder); });
}

TEST_CASE("a folder that is no cache and an unfinished cache are refused", "[data]") {
  const test::TempDir folder;
  test::require_parts(refusal<IoError>(folder.path()), {"manifest.json"});
  {
    CacheWriter writer(folder.path(), test_cache::plan(), test_cache::attention(), 4);
    writer.append(rows(0, 5));
  }
  test::require_parts(refusal<FormatError>(folder.path()),
                      {"manifest.json", "unfinished", "4 rows", "run the extraction again"});
}

TEST_CASE("cut, foreign, missing and swapped shards are refused by name", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 10);
  const auto path = folder / "shard-00001.h5";
  const std::string good = io::read_file(path);
  io::write_file(path, good.substr(0, good.size() - 100));
  test::require_parts(refusal<FormatError>(folder.path()), {path.string(), "truncated file"});
  io::write_file(path, io::read_file(test::golden("io/foreign.h5")));
  test::require_parts(refusal<FormatError>(folder.path()), {path.string(), "attribute complete"});
  io::write_file(path, io::read_file(test::golden("io/foreign_marked.h5")));
  test::require_parts(refusal<FormatError>(folder.path()),
                      {path.string() + ": /tokens: expected a dataset of int32 [4, 5]"});
  io::write_file(path, io::read_file(folder / "shard-00002.h5"));  // 2 rows
  test::require_parts(refusal<FormatError>(folder.path()),
                      {path.string() + ": /tokens: expected shape [4, 5], found [2, 5]"});
  std::filesystem::remove(path);
  test::require_parts(refusal<IoError>(folder.path()), {path.string(), "No such file"});
}

TEST_CASE("a cache of another dtype or width than its manifest says is refused", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 4);
  test_cache::edit_sealed(folder / "manifest.json", "\"bfloat16\"", "\"float32\"");
  test::require_parts(refusal<FormatError>(folder.path()),
                      {"shard-00000.h5: /input: expected float32, found a float of 16 bits"});
}

TEST_CASE("attention weights other than the manifest's are refused", "[data]") {
  const test::TempDir folder;
  const test::TempDir other;
  write_cache(folder.path(), 4);
  io::write_file(folder / "attention.safetensors",
                 io::read_file(test::golden("cache_v1/attention.safetensors")));
  test::require_parts(refusal<FormatError>(folder.path()), {"attention.safetensors", "checksum"});
  std::filesystem::remove(folder / "attention.safetensors");
  test::require_parts(refusal<IoError>(folder.path()), {"attention.safetensors"});
}

TEST_CASE("a flipped bit is found when its row is read, other rows are read on", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 8);
  test_cache::flip_bit(folder / "shard-00001.h5",
                       bytes_of(rows(6, 1).target_BTD[0].to(at::kBFloat16)));
  const CacheReader reader(folder.path());
  REQUIRE(reader.read({0, 5, 7}).rows.size() == 3);
  test::require_parts(
      test::message_of<FormatError>([&] {
        static_cast<void>(reader.read({5, 6}));
      }),
      {(folder / "shard-00001.h5").string(), "/target: row 2: expected the bytes of its checksum"});
}

TEST_CASE("a shard that shrinks after opening is reported with file and row", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 4);
  const CacheReader reader(folder.path());
  const std::string last = bytes_of(rows(3, 1).target_BTD[0].to(at::kBFloat16));
  const size_t at = io::read_file(folder / "shard-00000.h5").find(last);
  REQUIRE(at != std::string::npos);
  std::filesystem::resize_file(folder / "shard-00000.h5", at + 1);
  test::require_parts(test::message_of<FormatError>([&] { static_cast<void>(reader.read({3})); }),
                      {(folder / "shard-00000.h5").string(), "/target: row 3", "found 1", "cut"});
}

TEST_CASE("rows out of range are refused", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 4);
  const CacheReader reader(folder.path());
  test::require_parts(test::message_of<FormatError>([&] { static_cast<void>(reader.read({4})); }),
                      {folder.path().string(), "below 4", "found 4"});
  REQUIRE_THROWS_AS(reader.read({-1}), FormatError);
  REQUIRE(reader.read({}).input_BTD.size(0) == 0);
}

TEST_CASE("several threads read one reader", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 12);
  const CacheReader reader(folder.path());
  const Batch expected = reader.read(reader.rows(Side::kAll));
  std::atomic<int> equal{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int64_t i = 0; i < 50; ++i) {
        const int64_t row = (i * 5 + thread) % 12;
        const Batch batch = reader.read({row});
        equal += at::equal(batch.input_BTD[0], expected.input_BTD[row]) &&
                         at::equal(batch.target_BTD[0], expected.target_BTD[row])
                     ? 1
                     : 0;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  REQUIRE(equal == 200);
}

}  // namespace
}  // namespace lorsa::data
