#include <ATen/ATen.h>

#include <future>
#include <string>
#include <thread>
#include <vector>

#include "cache_fixture.h"
#include "lorsa/core/error.h"

namespace lorsa::data {
namespace {

using test_cache::attention;
using test_cache::contents;
using test_cache::kRowsPerShard;
using test_cache::plan;
using test_cache::rows;
using test_cache::write_cache;

/// Hands all rows in steps of 2 to one rank's writer, as an extraction does.
void write_part(const std::filesystem::path& folder, const WriterRank& rank, int64_t count) {
  CacheWriter writer(folder, plan(), attention(), kRowsPerShard, rank);
  for (int64_t row = 0; row < count; row += 2) {
    if (writer.wants(row)) {
      writer.append_at(row, rows(row, std::min<int64_t>(2, count - row)));
    }
  }
  writer.finish(count);
}

void write_by(const std::filesystem::path& folder, int64_t world_size, int64_t count) {
  std::vector<std::future<void>> others;
  // Rank 0 last: the others have to wait for it to begin the cache.
  for (int64_t rank = world_size - 1; rank > 0; --rank) {
    others.push_back(std::async(std::launch::async, [=] {
      write_part(folder, {rank, world_size, 60.0}, count);
    }));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  write_part(folder, {0, world_size, 60.0}, count);
  for (std::future<void>& other : others) {
    other.get();
  }
}

TEST_CASE("several ranks write the bytes that one writes", "[data]") {
  const test::TempDir one;
  write_cache(one.path(), 23);  // 6 shards, the last of 3 rows
  for (const int64_t world_size : {2, 3, 8}) {
    CAPTURE(world_size);
    const test::TempDir many;
    write_by(many.path(), world_size, 23);
    CHECK(contents(many.path()) == contents(one.path()));
  }
}

TEST_CASE("another number of ranks continues what some ranks have begun", "[data]") {
  const test::TempDir whole;
  write_cache(whole.path(), 23);
  const test::TempDir folder;
  {
    CacheWriter rank_0(folder.path(), plan(), attention(), kRowsPerShard, {0, 3, 60.0});
    CacheWriter rank_2(folder.path(), plan(), attention(), kRowsPerShard, {2, 3, 60.0});
    for (int64_t row = 0; row < 16; row += 2) {
      rank_0.append_at(row, rows(row, 2));  // shards 0 and 3
    }
    for (int64_t row = 0; row < 10; row += 2) {
      rank_2.append_at(row, rows(row, 2));  // half of shard 2
    }
    CHECK(rank_0.num_rows() == 8);
    CHECK_FALSE(rank_0.wants(4));
  }
  const Manifest unfinished = read_manifest(folder.path());
  REQUIRE(unfinished.shards.size() == 2);
  REQUIRE(unfinished.shards[1].file == "shard-00003.h5");
  SECTION("one writer") {
    CacheWriter writer(folder.path(), plan(), attention(), kRowsPerShard);
    CHECK(writer.num_rows() == 8);
    CHECK_FALSE(writer.wants(3));
    CHECK(writer.wants(4));
    CHECK_FALSE(writer.wants(12));
    writer.append(
        rows(4, 19));  // behind the leading finished shards; the middle one is passed over
    writer.finish();
  }
  SECTION("two ranks") {
    write_by(folder.path(), 2, 23);
    CHECK(read_manifest(folder.path()).complete);
  }
  CHECK(contents(folder.path()) == contents(whole.path()));
}

TEST_CASE("rank 0 says which rank it waited for in vain", "[data]") {
  const test::TempDir folder;
  CacheWriter rank_0(folder.path(), plan(), attention(), kRowsPerShard, {0, 2, 0.2});
  rank_0.append_at(0, rows(0, 4));
  test::require_parts(test::message_of<DeviceError>([&] { rank_0.finish(8); }),
                      {folder.path().string(), "waited", "rank 1 to finish shard-00001.h5"});
  const test::TempDir other;
  CacheWriter patient(other.path(), plan(), attention(), kRowsPerShard, {0, 2, 60.0});
  patient.append_at(0, rows(0, 4));
  std::future<std::string> message;
  {
    const CacheWriter rank_1(other.path(), plan(), attention(), kRowsPerShard, {1, 2, 60.0});
    message = std::async(std::launch::async,
                         [&] { return test::message_of<DeviceError>([&] { patient.finish(8); }); });
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
  test::require_parts(message.get(), {"rank 1", "has ended", "run the same command again"});
}

TEST_CASE("a rank alone waits for rank 0 to begin the cache", "[data]") {
  const test::TempDir folder;
  test::require_parts(
      test::message_of<DeviceError>([&] {
        const CacheWriter writer(folder / "new", plan(), attention(), kRowsPerShard, {1, 2, 0.1});
      }),
      {"waited", "rank 0 to begin the cache"});
}

TEST_CASE("a rank twice, and another job's living rank, are second writers", "[data]") {
  const test::TempDir folder;
  const CacheWriter rank_0(folder.path(), plan(), attention(), kRowsPerShard, {0, 3, 60.0});
  test::require_parts(
      test::message_of<IoError>([&] {
        const CacheWriter twin(folder.path(), plan(), attention(), kRowsPerShard, {0, 3, 60.0});
      }),
      {folder.path().string(), "another extraction", "process"});
  const test::TempDir other;
  { const CacheWriter begun(other.path(), plan(), attention(), kRowsPerShard); }
  const CacheWriter rank_2(other.path(), plan(), attention(), kRowsPerShard, {2, 3, 60.0});
  test::require_parts(test::message_of<IoError>([&] {
                        const CacheWriter alone(other.path(), plan(), attention(), kRowsPerShard);
                      }),
                      {other.path().string(), "another extraction", "rank 2"});
}

TEST_CASE("a folder that vanishes is noticed before a shard is finished in a new one", "[data]") {
  const test::TempDir dir;
  const std::filesystem::path folder = dir / "cache";
  CacheWriter writer(folder, plan(), attention(), kRowsPerShard);
  writer.append(rows(0, 5));
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  test::require_parts(test::message_of<IoError>([&] { writer.append(rows(5, 3)); }),
                      {folder.string(), "removed or replaced"});
  CHECK(contents(folder).empty());
  REQUIRE_THROWS_AS(writer.append(rows(8, 1)), IoError);
}

}  // namespace
}  // namespace lorsa::data
