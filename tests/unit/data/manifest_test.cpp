#include "lorsa/data/manifest.h"

#include <cmath>
#include <limits>

#include "cache_fixture.h"
#include "data/shard_record.h"
#include "lorsa/core/error.h"

namespace lorsa::data {
namespace {

Manifest filled() {
  Manifest manifest = test_cache::plan(StoreMode::kInput, StoreDtype::kFloat32);
  manifest.d_model = 3;
  manifest.bos_id = 1;
  manifest.rows_per_shard = 2;
  manifest.num_rows = 3;
  manifest.num_heldout_rows = 1;
  manifest.num_tokens = 15;
  manifest.num_scored_tokens = 11;
  manifest.attention = {"xxh3:0000000000000001",
                        std::sqrt(7.0),
                        1e-5,
                        {4, 500000.0, kernels::RopeScaling::kLlama3, 8.0, 1.5, 4.5, 4096,
                         kernels::RopeLayout::kAdjacentPairs}};
  manifest.num_statistics_tokens = 8;
  manifest.input_stats = {1.0 / 3.0, 2.0 / 3.0};
  manifest.target_stats = {1e-9, 1e9};
  manifest.target_mean = {0.1, -0.2, 1.0 / 7.0};
  manifest.shards = {{"shard-00000.h5", 2, "xxh3:a"}, {"shard-00001.h5", 1, "xxh3:b"}};
  manifest.complete = true;
  return manifest;
}

TEST_CASE("a finished manifest keeps every field", "[data]") {
  const test::TempDir folder;
  const Manifest written = filled();
  write_manifest(folder.path(), written);
  const Manifest read = read_manifest(folder.path());
  REQUIRE(read.model_name == written.model_name);
  REQUIRE(read.architecture == written.architecture);
  REQUIRE(read.weights_sha256 == written.weights_sha256);
  REQUIRE(read.site.layer == 2);
  REQUIRE(read.input_convention == written.input_convention);
  REQUIRE(read.store == StoreMode::kInput);
  REQUIRE(read.dtype == StoreDtype::kFloat32);
  REQUIRE(read.context_length == written.context_length);
  REQUIRE(read.d_model == 3);
  REQUIRE(read.rows_per_shard == 2);
  REQUIRE(read.num_rows == 3);
  REQUIRE(read.num_heldout_rows == 1);
  REQUIRE(read.num_tokens == 15);
  REQUIRE(read.num_scored_tokens == 11);
  REQUIRE(read.packing == "pack");
  REQUIRE(read.prepend_bos);
  REQUIRE(read.unscored_ids == written.unscored_ids);
  REQUIRE(read.bos_id == 1);
  REQUIRE_FALSE(read.separator_id.has_value());
  REQUIRE(read.own_special_tokens == "left_out");
  REQUIRE(read.attention == written.attention);
  REQUIRE(read.num_statistics_tokens == 8);
  REQUIRE(read.input_stats.mean_norm == written.input_stats.mean_norm);
  REQUIRE(read.input_stats.second_moment == written.input_stats.second_moment);
  REQUIRE(read.target_stats.mean_norm == written.target_stats.mean_norm);
  REQUIRE(read.target_stats.second_moment == written.target_stats.second_moment);
  REQUIRE(read.target_mean == written.target_mean);
  REQUIRE(read.corpus_digests == written.corpus_digests);
  REQUIRE(read.config_yaml == written.config_yaml);
  REQUIRE(read.shards.size() == 2);
  REQUIRE(read.shards[1].file == "shard-00001.h5");
  REQUIRE(read.shards[1].num_rows == 1);
  REQUIRE(read.shards[1].checksum == "xxh3:b");
  REQUIRE(read.complete);
}

TEST_CASE("an unfinished manifest has the shards whose records stand beside it", "[data]") {
  const test::TempDir folder;
  Manifest written = filled();
  written.complete = false;
  write_manifest(folder.path(), written);
  REQUIRE(read_manifest(folder.path()).shards.empty());
  const ShardRecord last = {
      {"shard-00003.h5", 2, "xxh3:d"}, 1, 9, {4, 2.0, 3.0, 8.0, 9.0, {1, 2, 4}}};
  write_shard_record(folder.path(), last);
  write_shard_record(folder.path(),
                     {{"shard-00001.h5", 1, "xxh3:b"}, 0, 5, {4, 4.0, 5.0, 8.0, 7.0, {3, 2, 4}}});
  const ShardRecord same = read_shard_record(folder.path(), 3, 3);
  REQUIRE(same.sums == last.sums);
  REQUIRE(same.info.checksum == "xxh3:d");
  const Manifest read = read_manifest(folder.path());
  REQUIRE_FALSE(read.complete);
  REQUIRE(read.shards.size() == 2);
  REQUIRE(shard_number(read.shards[0]) == 1);
  REQUIRE(shard_number(read.shards[1]) == 3);
  REQUIRE(read.num_rows == 3);
  REQUIRE(read.num_heldout_rows == 1);
  REQUIRE(read.num_scored_tokens == 14);
  REQUIRE(read.num_statistics_tokens == 8);
  REQUIRE(read.input_stats.mean_norm == 0.75);
  REQUIRE(read.target_stats.second_moment == 2.0);
  REQUIRE(read.target_mean == std::vector<double>{0.5, 0.5, 1.0});
}

TEST_CASE("a damaged shard record is refused by name", "[data]") {
  const test::TempDir folder;
  const auto refused = [&](const std::string& from, const std::string& to, auto edit) {
    write_shard_record(folder.path(),
                       {{"shard-00001.h5", 1, "xxh3:b"}, 0, 5, {4, 4.0, 5.0, 8.0, 7.0, {3, 2, 4}}});
    edit(folder / "shard-00001.done", from, to);
    const std::string message = test::message_of<FormatError>(
        [&] { static_cast<void>(read_shard_record(folder.path(), 1, 3)); });
    test::require_parts(message, {(folder / "shard-00001.done").string()});
    return message;
  };
  test::require_parts(refused("xxh3:b", "xxh3:c", test_cache::edit), {"file_checksum"});
  test::require_parts(refused("00001.h5", "00002.h5", test_cache::edit_sealed),
                      {"file: expected shard-00001.h5, found shard-00002.h5"});
  test::require_parts(refused("\"num_rows\": 1", "\"num_rows\": 0", test_cache::edit_sealed),
                      {"num_rows", ">= 1"});
  test::require_parts(refused("\"target\": [", "\"target\": [5,", test_cache::edit_sealed),
                      {"target: expected d_model = 3 numbers, found 4"});
}

TEST_CASE("any changed byte of a manifest is found", "[data]") {
  const test::TempDir folder;
  write_manifest(folder.path(), filled());
  const std::string good = io::read_file(folder / "manifest.json");
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    io::write_file(folder / "manifest.json", bad);
    CAPTURE(i);
    CHECK_THROWS_AS(read_manifest(folder.path()), FormatError);
  }
}

TEST_CASE("a manifest that contradicts itself is refused with file, key, expected and found",
          "[data]") {
  const test::TempDir folder;
  const auto refused = [&](const std::string& from, const std::string& to) {
    write_manifest(folder.path(), filled());
    test_cache::edit_sealed(folder / "manifest.json", from, to);
    const std::string message =
        test::message_of<FormatError>([&] { static_cast<void>(read_manifest(folder.path())); });
    test::require_parts(message, {(folder / "manifest.json").string()});
    return message;
  };
  test::require_parts(refused("\"schema\": 3", "\"schema\": 4"),
                      {"schema: expected 1 to 3, found 4"});
  test::require_parts(refused("\"component\": \"attention\"", "\"component\": \"norm\""),
                      {"component: expected one of attention, mlp, found \"norm\""});
  test::require_parts(refused("\"d_model\": 3", "\"d_model\": 4"),
                      {"target_mean: expected d_model = 4 numbers, found 3"});
  test::require_parts(refused("\"d_model\": 3", "\"d_model\": 0"), {"d_model: expected", ">= 1"});
  test::require_parts(refused("\"d_model\": 3", "\"d_model\": 9223372036854775807"),
                      {"d_model", "2^63"});
  test::require_parts(refused("\"d_model\": 3", "\"d_model\": 3.5"), {"d_model", "3.5"});
  test::require_parts(refused("\"d_model\": 3", "\"width\": 3"), {"d_model", "found nothing"});
  test::require_parts(refused("\"num_rows\": 3", "\"num_rows\": -3"), {"num_rows", "-3"});
  test::require_parts(refused("\"num_tokens\": 15", "\"num_tokens\": 16"),
                      {"num_tokens: the rows hold 15, found 16"});
  test::require_parts(refused("\"num_rows\": 2,", "\"num_rows\": 7,"),
                      {"num_rows: the shards hold 8, found 3"});
  test::require_parts(refused("\"store\": \"input\"", "\"store\": \"both\""),
                      {"store: expected one of input_and_target, input, found \"both\""});
  test::require_parts(refused("\"float32\"", "\"float64\""), {"dtype", "bfloat16, float32, int8"});
  test::require_parts(refused("shard-00001.h5", "../../secret.h5"),
                      {"shards[1]: file: expected shard-00001.h5, found ../../secret.h5"});
  test::require_parts(refused("shard-00001.h5", "shard-00000.h5"), {"shards[1]: file"});
  test::require_parts(refused("\"layer\": 2", "\"layer\": 2, \"layer\": 2"), {"unique keys"});
  test::require_parts(refused("\"unscored_ids\": [", "\"unscored_ids\": [\"x\", "),
                      {"unscored_ids", "\"x\""});
  test::require_parts(refused("\"llama3\"", "\"yarn\""), {"rope: scaling", "llama3", "yarn"});
}

TEST_CASE("a folder without manifest is an IoError that names it", "[data]") {
  const test::TempDir folder;
  test::require_parts(
      test::message_of<IoError>([&] { static_cast<void>(read_manifest(folder.path())); }),
      {(folder / "manifest.json").string(), "No such file"});
}

TEST_CASE("a path that is no cache is refused with what it is and the likely cache", "[data]") {
  const test::TempDir folder;
  const auto layer = folder.path() / "cache" / "layer-2";
  const auto checkpoint = folder.path() / "run" / "final";
  std::filesystem::create_directories(layer);
  std::filesystem::create_directories(checkpoint);
  io::write_file(layer / "manifest.json", "{}");
  io::write_file(layer / "shard-00000.h5", "x");
  io::write_file(checkpoint / "lorsa.json", "{}");
  const auto found = [](const std::filesystem::path& path) {
    return test::message_of<FormatError>([&] { static_cast<void>(read_manifest(path)); });
  };
  for (const char* file : {"manifest.json", "shard-00000.h5"}) {
    test::require_parts(found(layer / file),
                        {file, "found a file; did you mean " + layer.string()});
  }
  test::require_parts(found(checkpoint), {"found a checkpoint", "swapped"});
  test::require_parts(
      test::message_of<IoError>([&] { static_cast<void>(read_manifest(folder / "none")); }),
      {(folder / "none").string(), "found nothing"});
  io::write_file(layer / "manifest.json",
                 "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9000\n");
  test::require_parts(found(layer), {"manifest.json", "Git LFS pointer"});
}

TEST_CASE("normalization_scale brings the mean norm to sqrt(D)", "[data]") {
  REQUIRE(normalization_scale({4.0, 20.0}, 64) == Approx(2.0));
  REQUIRE_THROWS_AS(normalization_scale({0.0, 0.0}, 64), FormatError);
  REQUIRE_THROWS_AS(normalization_scale({std::nan(""), 0.0}, 64), FormatError);
}

TEST_CASE("caches begun before rows were looked through for special tokens say that they kept them",
          "[data]") {
  for (const char* name : {"cache_v1", "cache_v2"}) {
    const Manifest old = read_manifest(test::golden(name));
    REQUIRE(old.own_special_tokens == "kept");
    REQUIRE_FALSE(old.bos_id.has_value());
  }
}

}  // namespace
}  // namespace lorsa::data
