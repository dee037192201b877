#include "lorsa/data/activation_loader.h"

#include <ATen/ATen.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "cache_fixture.h"
#include "lorsa/core/error.h"
#include "lorsa/data/sampler.h"

namespace lorsa::data {
namespace {

using test_cache::rows;
using test_cache::write_cache;

LoaderOptions options(int64_t batch_rows = 3) {
  LoaderOptions result;
  result.batch_rows = batch_rows;
  result.seed = 42;
  return result;
}

std::vector<int64_t> next_rows(ActivationLoader& loader, int64_t batches) {
  std::vector<int64_t> all;
  for (int64_t i = 0; i < batches; ++i) {
    const Batch batch = loader.next();
    all.insert(all.end(), batch.rows.begin(), batch.rows.end());
  }
  return all;
}

/// The order that the sampler prescribes for elements first .. first + count - 1.
std::vector<int64_t> expected_rows(const CacheReader& reader, int64_t first, int64_t count) {
  const std::vector<int64_t>& training = reader.rows(Side::kTraining);
  std::vector<int64_t> order;
  for (int64_t i = first; i < first + count; ++i) {
    const int64_t index = sampled_index(i, static_cast<int64_t>(training.size()), 42);
    order.push_back(training[static_cast<size_t>(index)]);
  }
  return order;
}

TEST_CASE("the loader follows the sampler over training rows, whatever its threads and depth",
          "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 22);
  const CacheReader reader(folder.path());
  for (const int64_t threads : {1, 2, 5}) {
    for (const int64_t depth : {1, 4}) {
      LoaderOptions chosen = options();
      chosen.num_threads = threads;
      chosen.depth = depth;
      ActivationLoader loader(reader, chosen);
      // 17 training rows: the 12 batches run into a third epoch.
      REQUIRE(next_rows(loader, 12) == expected_rows(reader, 0, 36));
      REQUIRE(loader.position() == 36);
    }
  }
  for (const int64_t row : expected_rows(reader, 0, 36)) {
    REQUIRE(row % 4 != 3);
  }
}

TEST_CASE("the batches hold the rows that they name", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 9);
  const CacheReader reader(folder.path());
  ActivationLoader loader(reader, options(2));
  for (int i = 0; i < 5; ++i) {
    const Batch batch = loader.next();
    for (int64_t slot = 0; slot < 2; ++slot) {
      const RowBlock expected = rows(batch.rows[static_cast<size_t>(slot)], 1);
      REQUIRE(at::equal(batch.input_BTD[slot], expected.input_BTD[0].to(at::kBFloat16)));
      REQUIRE(at::equal(batch.scored_BT[slot], expected.scored_BT[0]));
    }
  }
}

TEST_CASE("a loader started at a saved position continues with the very next batch", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 15);
  const CacheReader reader(folder.path());
  ActivationLoader whole(reader, options());
  const std::vector<int64_t> all = next_rows(whole, 9);
  int64_t position = 0;
  {
    ActivationLoader first(reader, options());
    static_cast<void>(next_rows(first, 4));
    position = first.position();
  }
  REQUIRE(position == 12);
  LoaderOptions later = options();
  later.start_position = position;
  ActivationLoader second(reader, later);
  REQUIRE(second.position() == 12);
  REQUIRE(next_rows(second, 5) == std::vector<int64_t>(all.begin() + 12, all.end()));
}

TEST_CASE("ranks split the same global order", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 15);
  const CacheReader reader(folder.path());
  std::vector<int64_t> global;
  std::vector<std::unique_ptr<ActivationLoader>> ranks;
  for (int64_t rank = 0; rank < 3; ++rank) {
    LoaderOptions chosen = options(2);
    chosen.rank = rank;
    chosen.world_size = 3;
    ranks.push_back(std::make_unique<ActivationLoader>(reader, chosen));
  }
  for (int step = 0; step < 4; ++step) {
    for (const auto& rank : ranks) {
      const std::vector<int64_t> part = next_rows(*rank, 1);
      global.insert(global.end(), part.begin(), part.end());
    }
  }
  REQUIRE(global == expected_rows(reader, 0, 24));
  REQUIRE(ranks[2]->position() == 24);
  // One rank with the whole batch sees the same.
  ActivationLoader single(reader, options(6));
  REQUIRE(next_rows(single, 4) == global);
}

TEST_CASE("a failed read surfaces in next, in its place, and again", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 9);
  const CacheReader reader(folder.path());
  const std::vector<int64_t> order = expected_rows(reader, 0, 5);
  test_cache::flip_bit(folder / ("shard-0000" + std::to_string(order[3] / 4) + ".h5"),
                       test_cache::bytes_of(rows(order[3], 1).input_BTD[0].to(at::kBFloat16)));
  LoaderOptions chosen = options(1);
  chosen.num_threads = 3;
  chosen.depth = 3;
  ActivationLoader loader(reader, chosen);
  REQUIRE(next_rows(loader, 3) == std::vector<int64_t>(order.begin(), order.begin() + 3));
  for (int i = 0; i < 2; ++i) {
    test::require_parts(test::message_of<FormatError>([&] { static_cast<void>(loader.next()); }),
                        {"shard-0000", "/input: row " + std::to_string(order[3] % 4)});
  }
  REQUIRE(loader.position() == 3);
}

TEST_CASE("waiting is measured and reading ahead takes it away", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 9);
  const CacheReader reader(folder.path());
  ActivationLoader loader(reader, options(1));
  static_cast<void>(loader.next());
  const double first = loader.wait_s();
  REQUIRE(first > 0.0);
  REQUIRE(first < 60.0);
  // Long enough for the worker to fill its 3 batches even on a busy machine.
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  static_cast<void>(next_rows(loader, 3));
  REQUIRE(loader.wait_s() - first < 0.25);
}

TEST_CASE("a loader that is dropped early stops its threads", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 9);
  const CacheReader reader(folder.path());
  for (int i = 0; i < 20; ++i) {
    LoaderOptions chosen = options();
    chosen.num_threads = 4;
    chosen.depth = 8;
    const ActivationLoader loader(reader, chosen);
    REQUIRE(loader.position() == 0);
  }
}

TEST_CASE("impossible options and a cache without training rows are refused", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 4);
  const CacheReader reader(folder.path());
  const auto refused = [&](auto change) {
    LoaderOptions chosen = options();
    change(chosen);
    return test::message_of<ConfigError>([&] { const ActivationLoader loader(reader, chosen); });
  };
  test::require_parts(refused([](LoaderOptions& o) { o.batch_rows = 0; }), {"batch_rows", "0"});
  test::require_parts(refused([](LoaderOptions& o) { o.depth = 0; }), {"depth"});
  test::require_parts(refused([](LoaderOptions& o) { o.num_threads = 0; }), {"num_threads"});
  test::require_parts(refused([](LoaderOptions& o) { o.start_position = -1; }),
                      {"start_position", "-1"});
  test::require_parts(refused([](LoaderOptions& o) { o.rank = 1; }), {"rank", "below 1"});

  const test::TempDir heldout;
  {
    CacheWriter writer(heldout.path(), test_cache::plan(), test_cache::attention(), 4);
    writer.append(rows(3, 1));
    writer.finish();
  }
  const CacheReader only_heldout(heldout.path());
  test::require_parts(test::message_of<FormatError>(
                          [&] { const ActivationLoader loader(only_heldout, options()); }),
                      {heldout.path().string(), "held-out"});
}

}  // namespace
}  // namespace lorsa::data
