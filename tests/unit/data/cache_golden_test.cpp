// Caches of formats 1 and 2 that numpy, h5py, safetensors and xxhash made
// (scripts/golden/cache.py).
#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "lorsa/data/cache_reader.h"
#include "lorsa/io/json.h"
#include "support/tensors.h"
#include "support/throws.h"

namespace lorsa::data {
namespace {

at::Tensor expected(const io::Json& json, const std::string& key, at::IntArrayRef shape) {
  const auto values = json.at(key).get<std::vector<double>>();
  return at::tensor(values, at::kDouble).reshape(shape);
}

TEST_CASE("a bfloat16 cache made by other programs is read bit for bit", "[data]") {
  const std::string name = GENERATE("cache_v1", "cache_v2");
  const CacheReader reader(test::golden(name));
  const io::Json json = io::read_json(test::golden(name + ".json"));
  REQUIRE(reader.rows(Side::kAll) == std::vector<int64_t>{0, 1, 2});
  REQUIRE(reader.rows(Side::kTraining) == std::vector<int64_t>{0, 2});
  REQUIRE(reader.rows(Side::kHeldout) == std::vector<int64_t>{1});
  const Batch batch = reader.read({0, 1, 2});
  REQUIRE(batch.input_BTD.scalar_type() == at::kBFloat16);
  REQUIRE(at::equal(batch.input_BTD.to(at::kDouble), expected(json, "input", {3, 4, 6})));
  // The golden target is exact, the stored one rounded to 8 bits.
  REQUIRE(test::relative_error(batch.target_BTD, expected(json, "target", {3, 4, 6})) < 0x1p-8);
  REQUIRE(at::equal(batch.tokens_BT.to(at::kDouble), expected(json, "tokens", {3, 4})));
  REQUIRE(at::equal(batch.scored_BT.to(at::kDouble), expected(json, "scored", {3, 4})));
  REQUIRE(at::equal(batch.document_B.to(at::kDouble), expected(json, "document", {3})));
  REQUIRE(at::equal(batch.heldout_B.to(at::kDouble), expected(json, "heldout", {3})));
  REQUIRE(verify_cache(test::golden(name), {}).empty());
}

TEST_CASE("an int8 cache made by other programs is read to the values they mean", "[data]") {
  const CacheReader reader(test::golden("cache_v2_int8"));
  const io::Json json = io::read_json(test::golden("cache_v2_int8.json"));
  const Batch batch = reader.read({0, 1, 2});
  REQUIRE(batch.input_BTD.scalar_type() == at::kFloat);
  REQUIRE(at::equal(batch.input_BTD.to(at::kDouble), expected(json, "input", {3, 4, 6})));
  // The golden target is exact; the stored one is off by half a step of 1/127 of its position's
  // largest value.
  REQUIRE(test::relative_error(batch.target_BTD, expected(json, "target", {3, 4, 6})) < 0.5 / 127);
  REQUIRE(verify_cache(test::golden("cache_v2_int8"), {}).empty());
}

TEST_CASE("store: input gives the target that numpy computes from attention.safetensors",
          "[data]") {
  const CacheReader reader(test::golden("cache_v1_input"));
  const io::Json json = io::read_json(test::golden("cache_v1_input.json"));
  REQUIRE(reader.manifest().store == StoreMode::kInput);
  const Batch batch = reader.read({2, 0});
  const at::Tensor order = at::tensor({2, 0}, at::kLong);
  REQUIRE(batch.input_BTD.scalar_type() == at::kFloat);
  REQUIRE(batch.target_BTD.scalar_type() == at::kFloat);
  REQUIRE(at::equal(batch.input_BTD.to(at::kDouble),
                    expected(json, "input", {3, 4, 6}).index_select(0, order)));
  REQUIRE(test::relative_error(batch.target_BTD,
                               expected(json, "target", {3, 4, 6}).index_select(0, order)) < 1e-5);
  REQUIRE(reader.attention().num_heads() == 2);
  REQUIRE(reader.attention().num_kv_heads() == 1);
  REQUIRE(reader.attention().b_O.defined());
  REQUIRE_FALSE(reader.attention().q_norm.defined());
  REQUIRE(verify_cache(test::golden("cache_v1_input"), {}).empty());
}

}  // namespace
}  // namespace lorsa::data
