#include "lorsa/data/cache_writer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <limits>

#include "cache_fixture.h"
#include "lorsa/core/error.h"
#include "support/file_size_limit.h"
#include "support/tensors.h"

namespace lorsa::data {
namespace {

using test_cache::attention;
using test_cache::contents;
using test_cache::kLength;
using test_cache::kRowsPerShard;
using test_cache::kWidth;
using test_cache::plan;
using test_cache::rows;
using test_cache::write_cache;

TEST_CASE("what is written is read back in the stored dtype, in any order", "[data]") {
  for (const StoreDtype dtype : {StoreDtype::kBFloat16, StoreDtype::kFloat32}) {
    const test::TempDir folder;
    write_cache(folder.path(), 10, plan(StoreMode::kInputAndTarget, dtype));
    const CacheReader reader(folder.path());
    REQUIRE(reader.manifest().complete);
    REQUIRE(reader.manifest().num_rows == 10);
    REQUIRE(reader.manifest().num_tokens == 50);
    REQUIRE(reader.manifest().shards.size() == 3);
    REQUIRE(reader.manifest().shards[2].num_rows == 2);
    const at::ScalarType stored = dtype == StoreDtype::kBFloat16 ? at::kBFloat16 : at::kFloat;
    const std::vector<int64_t> order = {9, 0, 4, 3, 8, 9};
    const Batch batch = reader.read(order);
    REQUIRE(batch.rows == order);
    for (size_t i = 0; i < order.size(); ++i) {
      const RowBlock expected = rows(order[i], 1);
      const auto slot = static_cast<int64_t>(i);
      REQUIRE(at::equal(batch.input_BTD[slot], expected.input_BTD[0].to(stored)));
      REQUIRE(at::equal(batch.target_BTD[slot], expected.target_BTD[0].to(stored)));
      REQUIRE(at::equal(batch.tokens_BT[slot], expected.tokens_BT[0]));
      REQUIRE(at::equal(batch.scored_BT[slot], expected.scored_BT[0]));
      REQUIRE(batch.document_B[slot].item<int64_t>() == expected.document[0]);
      REQUIRE(batch.heldout_B[slot].item<bool>() == (expected.heldout[0] == 1));
    }
    REQUIRE(reader.rows(Side::kHeldout) == std::vector<int64_t>{3, 7});
    REQUIRE(verify_cache(folder.path(), {}).empty());
  }
}

TEST_CASE("int8 stores every position rounded to its own scale", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 10, plan(StoreMode::kInputAndTarget, StoreDtype::kInt8));
  const CacheReader reader(folder.path());
  REQUIRE(reader.manifest().dtype == StoreDtype::kInt8);
  const Batch batch = reader.read({9, 2});
  REQUIRE(batch.input_BTD.scalar_type() == at::kFloat);
  const auto rounded = [](const at::Tensor& x) {
    const at::Tensor scale = x.abs().amax(-1, true) / 127;
    return (x / scale).round() * scale;
  };
  for (const auto& [slot, row] : {std::pair<int64_t, int64_t>{0, 9}, {1, 2}}) {
    const RowBlock block = rows(row, 1);
    // The scale's last bit may differ; a value half way between two steps would show as a whole
    // one.
    REQUIRE(test::relative_error(batch.input_BTD[slot], rounded(block.input_BTD[0])) < 1e-6);
    REQUIRE(test::relative_error(batch.target_BTD[slot], rounded(block.target_BTD[0])) < 1e-6);
  }
  // Statistics are over what readers see.
  const Batch all = reader.read(reader.rows(Side::kTraining));
  const at::Tensor seen = all.input_BTD.index({all.scored_BT}).to(at::kDouble);
  REQUIRE(reader.manifest().input_stats.second_moment ==
          Approx(seen.square().sum(1).mean().item<double>()).epsilon(1e-12));
  REQUIRE(verify_cache(folder.path(), {}).empty());
}

TEST_CASE("int8 keeps zeros and tiny and huge positions and refuses what is not finite", "[data]") {
  const test::TempDir folder;
  RowBlock block = rows(0, 1);
  block.input_BTD[0][1].zero_();
  block.input_BTD[0][2] *= 1e-38;
  block.input_BTD[0][3] *= 1e37;
  CacheWriter writer(folder.path(), plan(StoreMode::kInput, StoreDtype::kInt8), attention(),
                     kRowsPerShard);
  writer.append(block);
  writer.finish();
  const at::Tensor read = CacheReader(folder.path()).read({0}).input_BTD[0];
  REQUIRE(read[1].abs().max().item<float>() == 0.0F);
  REQUIRE(test::relative_error(read[2] * 1e38, block.input_BTD[0][2] * 1e38) < 0.02);
  REQUIRE(test::relative_error(read[3], block.input_BTD[0][3]) < 0.01);
  const test::TempDir other;
  CacheWriter strict(other.path(), plan(StoreMode::kInputAndTarget, StoreDtype::kInt8), attention(),
                     kRowsPerShard);
  block.target_BTD[0][4][5] = std::numeric_limits<double>::infinity();
  test::require_parts(test::message_of<FormatError>([&] { strict.append(block); }),
                      {"row 0, position 4", "finite", "a target"});
}

TEST_CASE("the statistics are those of the stored values at scored training positions", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 11);
  const Manifest manifest = read_manifest(folder.path());
  const RowBlock block = rows(0, 11);
  at::Tensor chosen = block.scored_BT.clone();
  for (int64_t row = 3; row < 11; row += 4) {
    chosen[row].fill_(false);
  }
  const auto stored = [&](const at::Tensor& tensor) {
    return tensor.to(at::kBFloat16).to(at::kDouble).index({chosen});
  };
  const at::Tensor x = stored(block.input_BTD);
  const at::Tensor t = stored(block.target_BTD);
  const auto value = [](const at::Tensor& tensor) { return tensor.item<double>(); };
  REQUIRE(manifest.num_statistics_tokens == x.size(0));
  REQUIRE(manifest.num_scored_tokens == block.scored_BT.sum().item<int64_t>());
  REQUIRE(manifest.num_scored_tokens > manifest.num_statistics_tokens);
  REQUIRE(manifest.num_heldout_rows == 2);
  REQUIRE(manifest.input_stats.mean_norm == Approx(value(x.norm(2, 1).mean())).epsilon(1e-12));
  REQUIRE(manifest.input_stats.second_moment ==
          Approx(value(x.square().sum(1).mean())).epsilon(1e-12));
  REQUIRE(manifest.target_stats.mean_norm == Approx(value(t.norm(2, 1).mean())).epsilon(1e-12));
  REQUIRE(manifest.target_stats.second_moment ==
          Approx(value(t.square().sum(1).mean())).epsilon(1e-12));
  const at::Tensor mean = at::tensor(manifest.target_mean, at::kDouble);
  REQUIRE(test::relative_error(mean, t.mean(0)) < 1e-12);
}

TEST_CASE("store: input leaves the target out and readers recompute it", "[data]") {
  const test::TempDir folder;
  write_cache(folder.path(), 6, plan(StoreMode::kInput, StoreDtype::kFloat32));
  const CacheReader reader(folder.path());
  const Batch batch = reader.read({5, 1});
  REQUIRE(at::equal(batch.input_BTD[0], rows(5, 1).input_BTD[0]));
  const at::Tensor target = kernels::mhsa_forward(attention(), batch.input_BTD);
  REQUIRE(test::relative_error(batch.target_BTD, target) < 1e-6);
  REQUIRE(reader.attention().attn_scale == 2.0);
  REQUIRE(reader.attention().rope.rotary_dim == 4);
  REQUIRE(at::equal(reader.attention().W_V, attention().W_V));
  REQUIRE(verify_cache(folder.path(), {}).empty());
}

TEST_CASE("the files do not depend on how rows were grouped or on threads", "[data]") {
  const test::TempDir one;
  const test::TempDir many;
  write_cache(one.path(), 10);
  const int threads = at::get_num_threads();
  at::set_num_threads(threads == 1 ? 2 : 1);
  {
    CacheWriter writer(many.path(), plan(), attention(), kRowsPerShard);
    writer.append(rows(0, 1));
    writer.append(rows(1, 6));
    writer.append(rows(7, 0));
    writer.append(rows(7, 3));
    writer.finish();
    writer.finish();  // a second time changes nothing
  }
  at::set_num_threads(threads);
  REQUIRE(contents(one.path()) == contents(many.path()));
}

TEST_CASE(
    "an interrupted extraction continues after the last finished shard and ends with the "
    "same bytes",
    "[data]") {
  const test::TempDir whole;
  const test::TempDir resumed;
  write_cache(whole.path(), 14);
  {
    CacheWriter writer(resumed.path(), plan(), attention(), kRowsPerShard);
    REQUIRE(writer.num_rows() == 0);
    writer.append(rows(0, 10));
    REQUIRE(writer.num_rows() == 8);
  }  // two shards finished, the third dropped
  REQUIRE_FALSE(read_manifest(resumed.path()).complete);
  // What a kill leaves: half-written files, and a shard whose record was not written.
  io::write_file(resumed / "shard-00002.h5.tmp", "half");
  io::write_file(resumed / "manifest.json.tmp", "{");
  io::write_file(resumed / "shard-00002.h5", "renamed, but not listed");
  {
    CacheWriter writer(resumed.path(), plan(), attention(), kRowsPerShard);
    REQUIRE_FALSE(writer.already_complete());
    REQUIRE(writer.num_rows() == 8);
    REQUIRE_FALSE(std::filesystem::exists(resumed / "shard-00002.h5.tmp"));
    REQUIRE_FALSE(std::filesystem::exists(resumed / "shard-00002.h5"));
    writer.append(rows(8, 6));
    writer.finish();
  }
  REQUIRE(contents(resumed.path()) == contents(whole.path()));
  const CacheWriter again(resumed.path(), plan(), attention(), kRowsPerShard);
  REQUIRE(again.already_complete());
  REQUIRE(again.num_rows() == 14);
  REQUIRE(contents(resumed.path()) == contents(whole.path()));
}

TEST_CASE("a kill before the first manifest leaves a folder that can be begun again", "[data]") {
  const test::TempDir folder;
  io::write_file(folder / "attention.safetensors", "from the killed run");
  io::write_file(folder / "manifest.json.tmp", "{");
  write_cache(folder.path(), 4);
  REQUIRE(verify_cache(folder.path(), {}).empty());
}

TEST_CASE("a kill behind the last manifest leaves files that the next call removes", "[data]") {
  const test::TempDir whole;
  const test::TempDir killed;
  write_cache(whole.path(), 6);
  write_cache(killed.path(), 6);
  for (const char* name : {"shard-00000.done", "shard-00001.done", "writer-0.lock", "x.tmp"}) {
    io::write_file(killed / name, "left");
  }
  remove_leftovers_of_complete_cache(killed.path());
  REQUIRE(contents(killed.path()) == contents(whole.path()));
  remove_leftovers_of_complete_cache(killed.path());
  REQUIRE(contents(killed.path()) == contents(whole.path()));
}

TEST_CASE("another configuration is refused, naming what differs", "[data]") {
  const test::TempDir folder;
  {
    CacheWriter writer(folder.path(), plan(), attention(), kRowsPerShard);
    writer.append(rows(0, 5));
  }
  const auto before = contents(folder.path());
  const auto refused = [&](const Manifest& other, int64_t rows_per_shard) {
    return test::message_of<ConfigError>(
        [&] { const CacheWriter writer(folder.path(), other, attention(), rows_per_shard); });
  };
  Manifest other = plan();
  other.config_yaml = "layers: [2]\ndata:\n  max_tokens: 2000\n";
  test::require_parts(refused(other, kRowsPerShard),
                      {folder.path().string(), "-   max_tokens: 1000", "+   max_tokens: 2000"});
  other = plan();
  other.config_yaml = "data:\n  max_tokens: 1000\nlayers: [2]\n";
  test::require_parts(refused(other, kRowsPerShard), {"config"});
  other = plan();
  other.weights_sha256 = "b";
  test::require_parts(refused(other, kRowsPerShard), {"model.weights_sha256: \"aa", "now \"b\""});
  other = plan();
  other.bos_id = 7;
  test::require_parts(refused(other, kRowsPerShard), {"tokens.bos_id: null in the folder, now 7"});
  other = plan();
  other.corpus_digests = {"corpus.jsonl xxh3:f"};
  test::require_parts(refused(other, kRowsPerShard), {"corpus", "xxh3:f"});
  test::require_parts(refused(plan(), 5), {"rows_per_shard: 4 in the folder, now 5"});
  REQUIRE(contents(folder.path()) == before);
}

TEST_CASE("a folder with other things in it is refused and left alone", "[data]") {
  const test::TempDir folder;
  io::write_file(folder / "thesis.tex", "x");
  test::require_parts(test::message_of<ConfigError>([&] {
                        const CacheWriter writer(folder.path(), plan(), attention(), kRowsPerShard);
                      }),
                      {folder.path().string(), "thesis.tex", "manifest.json"});
  REQUIRE(contents(folder.path()).size() == 1);
}

TEST_CASE("continuing checks the files that are there", "[data]") {
  const test::TempDir folder;
  {
    CacheWriter writer(folder.path(), plan(), attention(), kRowsPerShard);
    writer.append(rows(0, 8));
  }
  const auto open = [&] {
    const CacheWriter writer(folder.path(), plan(), attention(), kRowsPerShard);
  };
  const std::string shard = io::read_file(folder / "shard-00001.h5");
  io::write_file(folder / "shard-00001.h5", shard.substr(0, shard.size() / 2));
  test::require_parts(test::message_of<FormatError>(open),
                      {(folder / "shard-00001.h5").string(), "truncated"});
  std::filesystem::remove(folder / "shard-00001.h5");
  test::require_parts(test::message_of<IoError>(open), {(folder / "shard-00001.h5").string()});
  io::write_file(folder / "shard-00001.h5", shard);
  io::write_file(folder / "attention.safetensors", "other");
  test::require_parts(test::message_of<FormatError>(open),
                      {(folder / "attention.safetensors").string(), "checksum"});
}

TEST_CASE("two extractions cannot write one folder", "[data]") {
  const test::TempDir folder;
  const CacheWriter first(folder.path(), plan(), attention(), kRowsPerShard);
  test::require_parts(test::message_of<IoError>([&] {
                        const CacheWriter second(folder.path(), plan(), attention(), kRowsPerShard);
                      }),
                      {folder.path().string(), "another extraction"});
}

TEST_CASE("a full disk keeps finished shards, drops the open one and can be continued", "[data]") {
  const test::TempDir folder;
  const test::TempDir whole;
  // Shards of 8 KiB and one of 2 MB: the limit lies between.
  Manifest large = plan();
  large.context_length = 256;
  large.d_model = 512;
  const auto wide_rows = [](int64_t first, int64_t count) {
    RowBlock block = rows(first, count);
    block.input_BTD = block.input_BTD.repeat({1, 52, 32}).slice(1, 0, 256);
    block.target_BTD = block.target_BTD.repeat({1, 52, 32}).slice(1, 0, 256);
    block.tokens_BT = block.tokens_BT.repeat({1, 52}).slice(1, 0, 256);
    block.scored_BT = block.tokens_BT.gt(1);
    return block;
  };
  kernels::Mhsa layer = attention();
  layer.W_Q = layer.W_Q.repeat({1, 32, 1});
  layer.W_K = layer.W_K.repeat({1, 32, 1});
  layer.W_V = layer.W_V.repeat({1, 32, 1});
  layer.W_O = layer.W_O.repeat({1, 1, 32});
  {
    CacheWriter writer(whole.path(), large, layer, kRowsPerShard);
    writer.append(wide_rows(0, 7));
    writer.finish();
  }
  {
    CacheWriter writer(folder.path(), large, layer, kRowsPerShard);
    writer.append(wide_rows(0, 5));
    {
      const test::FileSizeLimit limit(1 << 20);
      test::require_parts(test::message_of<IoError>([&] { writer.append(wide_rows(5, 1)); }),
                          {(folder / "shard-00001.h5.tmp").string(), "cannot write"});
      REQUIRE_FALSE(std::filesystem::exists(folder / "shard-00001.h5.tmp"));
    }
    REQUIRE_THROWS_AS(writer.append(wide_rows(5, 1)), IoError);
    REQUIRE_THROWS_AS(writer.finish(), IoError);
  }
  REQUIRE(read_manifest(folder.path()).num_rows == 4);
  {
    const CacheWriter writer(folder.path(), large, layer, kRowsPerShard);
    REQUIRE(writer.num_rows() == 4);
  }
  {
    CacheWriter writer(folder.path(), large, layer, kRowsPerShard);
    const test::FileSizeLimit limit(1 << 20);
    test::require_parts(test::message_of<IoError>([&] { writer.append(wide_rows(4, 1)); }),
                        {(folder / "shard-00001.h5.tmp").string(), "File too large"});
  }
  CacheWriter writer(folder.path(), large, layer, kRowsPerShard);
  writer.append(wide_rows(4, 3));
  writer.finish();
  REQUIRE(contents(folder.path()) == contents(whole.path()));
}

TEST_CASE("rows that do not fit the plan or are not finite are refused", "[data]") {
  const test::TempDir folder;
  CacheWriter writer(folder.path(), plan(), attention(), kRowsPerShard);
  const auto refused = [&](auto change) {
    RowBlock block = rows(0, 2);
    change(block);
    return test::message_of<ShapeError>([&] { writer.append(block); });
  };
  test::require_parts(refused([](RowBlock& b) { b.input_BTD = b.input_BTD.slice(2, 1); }),
                      {"input: expected floating-point [2, 5, 16]", "[2, 5, 15]"});
  test::require_parts(refused([](RowBlock& b) { b.target_BTD = at::Tensor(); }),
                      {"target", "found nothing"});
  test::require_parts(refused([](RowBlock& b) { b.input_BTD = b.input_BTD.to(at::kInt); }),
                      {"input", "Int"});
  test::require_parts(refused([](RowBlock& b) { b.tokens_BT = b.tokens_BT.to(at::kLong); }),
                      {"tokens: expected int32", "Long"});
  test::require_parts(refused([](RowBlock& b) { b.scored_BT = b.scored_BT.to(at::kByte); }),
                      {"scored: expected bool"});
  test::require_parts(refused([](RowBlock& b) { b.heldout.pop_back(); }), {"heldout"});
  test::require_parts(refused([](RowBlock& b) { b.heldout[0] = 2; }), {"heldout", "found 2"});
  RowBlock block = rows(0, 2);
  block.target_BTD[1][3][2] = std::numeric_limits<double>::quiet_NaN();
  test::require_parts(test::message_of<FormatError>([&] { writer.append(block); }),
                      {"row 1, position 3", "finite", "a target"});
  // Nothing of all that was kept.
  writer.append(rows(0, 4));
  REQUIRE(writer.num_rows() == 4);
}

TEST_CASE("an empty cache and impossible plans are refused", "[data]") {
  const test::TempDir folder;
  CacheWriter writer(folder.path(), plan(), attention(), kRowsPerShard);
  test::require_parts(test::message_of<FormatError>([&] { writer.finish(); }),
                      {folder.path().string(), "at least one row"});
  REQUIRE_THROWS_AS(CacheWriter(folder / "a", plan(), attention(), 0), ConfigError);
  Manifest narrow = plan();
  narrow.d_model = 8;
  test::require_parts(test::message_of<ShapeError>(
                          [&] { const CacheWriter other(folder / "b", narrow, attention(), 1); }),
                      {"W_Q", "[4, 8, 4]", "[4, 16, 4]"});
}

}  // namespace
}  // namespace lorsa::data
