#include "train/memory.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "lorsa/core/error.h"
#include "lorsa/model/step_cost.h"
#include "lorsa/train/learner.h"
#include "support/counting_allocator.h"
#include "support/lorsa_oracle.h"
#include "support/test.h"
#include "tiny_run.h"

using namespace lorsa;
using model::Activation;

namespace {

struct Case {
  const char* name;
  void (*set)(train::RunConfig&);
  int64_t micro_batch = 4;
  double tolerance = 0.05;
};

// Large products, many heads, long rows, small parts: what makes the peak differs.
const std::vector<Case> kCases = {
    {"as it is", [](train::RunConfig&) {}},
    {"micro-batches", [](train::RunConfig&) {}, 1},
    {"few heads", [](train::RunConfig& c) { c.model.num_ov_heads = 64; }},
    {"many heads", [](train::RunConfig& c) { c.model.num_ov_heads = 4096; }},
    {"wide QK heads", [](train::RunConfig& c) { c.model.d_qk = 256; }},
    {"frozen QK", [](train::RunConfig& c) { c.train.freeze = train::Freeze::kQk; }},
    {"annealed K",
     [](train::RunConfig& c) {
       c.train.initial_k = 256;
       c.train.k_anneal_tokens = c.train.tokens;
     }},
    {"batchtopk", [](train::RunConfig& c) { c.model.activation = Activation::kBatchTopK; }, 4, 0.2},
    {"QK norm and virtual keys",
     [](train::RunConfig& c) {
       c.model.d_qk = 256;
       c.model.num_virtual_keys = 2;
     }},
    {"AuxK",
     [](train::RunConfig& c) {
       c.train.aux_k = 64;
       c.train.dead_after_tokens = 1;
     }},
    {"a decoder of fixed lengths, small batches",
     [](train::RunConfig& c) {
       c.model.num_ov_heads = 4096;
       c.train.unit_decoder = true;
     },
     1},
    {"a threshold",
     [](train::RunConfig& c) {
       c.model.num_ov_heads = 4096;
       c.train.tokens = 1;
       c.train.final_activation = train::FinalActivation::kJumpRelu;
     },
     4, 0.2},
    {"SAE", [](train::RunConfig& c) { c.model.kind = "sae"; }},
    {"SAE of many features",
     [](train::RunConfig& c) {
       c.model.kind = "sae";
       c.model.num_ov_heads = 4096;
     }},
    {"relu", [](train::RunConfig& c) { c.model.activation = Activation::kRelu; }, 4, 0.25},
    {"jumprelu, tanh",
     [](train::RunConfig& c) {
       c.model.activation = Activation::kJumpRelu;
       c.train.penalty = model::PenaltyKind::kTanh;
       c.train.penalty_coefficient = 0.1;
     },
     4, 0.25},
};

train::RunConfig base_config() {
  train::RunConfig config;
  config.model.num_ov_heads = 512;
  config.model.num_qk_heads = 8;
  config.model.d_qk = 64;
  config.model.top_k = 16;
  config.train.tokens = 1 << 20;
  return config;
}

model::DictionaryShape shape_of(const train::RunConfig& config) {
  model::DictionaryShape shape;
  shape.kind = config.model.kind;
  shape.d_model = 192;
  shape.num_ov_heads = config.model.num_ov_heads;
  shape.top_k = config.model.top_k;
  shape.activation = config.model.activation;
  if (model::kind_info(shape.kind).reads == model::Hook::kOutput) {
    return shape;
  }
  shape.num_qk_heads = config.model.num_qk_heads;
  shape.d_qk = config.model.d_qk;
  shape.attn_scale = 8.0;
  shape.rope.rotary_dim = 32;
  shape.qk_norm = config.model.num_virtual_keys > 0;
  shape.num_virtual_keys = config.model.num_virtual_keys;
  return shape;
}

constexpr int64_t kSequences = 4;
constexpr int64_t kPositions = 128;

/// The most that two steps of training hold at once.
int64_t measured_peak(const train::RunConfig& config, int64_t micro_batch) {
  const test::CountingAllocator allocator;
  const std::unique_ptr<dist::Communicator> single = dist::make_communicator({});
  const model::DictionaryShape shape = shape_of(config);
  model::Dictionary dictionary(shape, test::random_weights(shape, at::kFloat));
  train::TrainerState state;
  state.optimizer = train::fresh_optimizer(dictionary.weights());
  state.last_active_H = at::full({shape.num_ov_heads}, -1, at::kLong);
  train::Learner learner({config.train, config.log}, {dictionary, state, *single, micro_batch});
  const auto step = [&] {
    train::TrainingBatch batch;
    batch.target_BTD = at::empty({kSequences, kPositions, shape.d_model}).normal_();
    batch.input_BTD = shape.num_qk_heads == 0
                          ? batch.target_BTD
                          : at::empty({kSequences, kPositions, shape.d_model}).normal_();
    batch.squared_deviation = at::zeros({}, at::kDouble);
    batch.scored_BT = at::ones({kSequences, kPositions}, at::kBool);
    batch.num_scored = batch.num_tokens = kSequences * kPositions;
    learner.step(batch);
  };
  step();
  step();
  return allocator.peak();
}

}  // namespace

TEST_CASE("the memory plan is what training's tensors hold at their peak", "[train]") {
  for (const Case& c : kCases) {
    train::RunConfig config = base_config();
    c.set(config);
    const train::MemoryPlan plan = train::memory_of(
        config.train, shape_of(config), {kSequences, c.micro_batch, kPositions, c10::kCPU});
    const int64_t measured = measured_peak(config, c.micro_batch);
    INFO(c.name << ": planned " << plan.peak() << ", measured " << measured << ", step "
                << plan.step);
    CHECK(static_cast<double>(plan.peak()) ==
          Approx(static_cast<double>(measured)).epsilon(c.tolerance));
  }
}

TEST_CASE("bfloat16 halves what lies between the products and keeps copies of the weights",
          "[train]") {
  const train::RunConfig config = base_config();
  train::MicroBatch batch{kSequences, kSequences, kPositions, c10::kCPU};
  const train::MemoryPlan full = train::memory_of(config.train, shape_of(config), batch);
  batch.in_bfloat16 = true;
  const train::MemoryPlan half = train::memory_of(config.train, shape_of(config), batch);
  const int64_t matrices = 2 * (2 * 512 + 2 * 8 * 64) * 192;
  REQUIRE(half.weights - full.weights == matrices);
  REQUIRE(half.moments == full.moments);
  REQUIRE(half.step < full.step);
}

TEST_CASE("plan: micro-batches on CUDA stay at or below 2^31 values", "[train]") {
  // Llama-3.1-8B's heads, wide QK heads, short rows that are padded, narrow heads, an SAE.
  struct Sizes {
    int64_t heads, qk_heads, d_qk, positions, expected;
  };

  for (const Sizes& c : {Sizes{32768, 256, 128, 1024, 64}, Sizes{4096, 64, 256, 2048, 64},
                         Sizes{32768, 256, 128, 48, 512}, Sizes{1024, 512, 2, 4096, 32},
                         Sizes{65536, 0, 0, 1024, 32}, Sizes{65536, 512, 128, 65536, 0}}) {
    model::DictionaryShape shape;
    shape.num_ov_heads = c.heads;
    shape.num_qk_heads = c.qk_heads;
    shape.d_qk = c.d_qk;
    const int64_t most = model::max_cuda_sequences(shape, c.positions);
    INFO(c.heads << " heads, " << c.qk_heads << " of " << c.d_qk << ", T " << c.positions);
    CHECK(most == c.expected);
    const auto within = [&](int64_t sequences) {
      const int64_t width =
          c.qk_heads > 0 ? std::max({c.d_qk, c.heads / c.qk_heads, int64_t{32}}) : 0;
      const int64_t padded = (c.positions + 127) / 128 * 128;
      return sequences * c.positions * std::max(c.qk_heads * c.d_qk, c.heads) <= int64_t{1} << 31 &&
             sequences * c.qk_heads * padded * width <= int64_t{1} << 31;
    };
    CHECK(within(most));
    CHECK_FALSE(within(most + 1));
  }
}

TEST_CASE("the plan for a large device is cut at the kernels' bound; larger settings are refused",
          "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  train::RunConfig config = test::make_config(dir.path(), "run");
  // 2^31 values in 1,024 sequences of 16 positions.
  config.model.num_ov_heads = 1 << 17;
  config.model.num_qk_heads = 1 << 12;
  const data::CacheReader cache(config.data.cache);
  const c10::Device cuda(c10::kCUDA, 0);
  const auto parts = [&] {
    std::vector<train::Member> members;
    members.emplace_back(config);
    return train::micro_batch_sequences(members, cache, 1200, cuda, int64_t{1} << 50).front();
  };
  const model::DictionaryShape shape = [&] {
    train::Member member(config);
    return train::shape_for(member.model, cache);
  }();
  const int64_t most = model::max_cuda_sequences(shape, 16);
  REQUIRE(most < 1200);
  // Parts of equal size.
  const int64_t num_parts = (1200 + most - 1) / most;
  CHECK(parts() == (1200 + num_parts - 1) / num_parts);
  config.train.micro_batch_sequences = most;
  CHECK(parts() == most);
  config.train.micro_batch_sequences = most + 1;
  CHECK_THROWS_AS(parts(), ConfigError);
  config.train.micro_batch_sequences = 0;
  config.model.activation = Activation::kBatchTopK;
  CHECK_THROWS_AS(parts(), ConfigError);
}

TEST_CASE("the plan counts the sort of all scores past the top-k kernel's limits", "[train]") {
  train::RunConfig config = base_config();
  config.model.num_ov_heads = 1 << 15;
  constexpr int64_t kP = 4096;
  const auto step = [&](int64_t heads, int64_t top_k, int64_t aux_k) {
    config.model.num_ov_heads = heads;
    config.train.initial_k = top_k;
    config.train.aux_k = aux_k;
    return train::memory_of(config.train, shape_of(config),
                            {8, 8, kP / 8, c10::Device(c10::kCUDA, 0), true})
        .step;
  };
  // At least scores, sorted scores and places of 8 bytes.
  const int64_t sorted = kP * (1 << 15) * 16;
  CHECK(step(1 << 15, 1025, 0) - step(1 << 15, 1024, 0) > sorted / 2);
  CHECK(step(1 << 15, 64, 1025) - step(1 << 15, 64, 1024) > sorted / 2);
  CHECK(step(65537, 64, 0) - step(65536, 64, 0) > sorted);
}

TEST_CASE("the plan counts what a device makes of stored batches", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 10, Component::kAttention,
                         {.dtype = data::StoreDtype::kInt8, .store = data::StoreMode::kInput});
  const train::StoredForm stored = train::stored_form(data::CacheReader(dir / "cache"));
  CHECK(stored.value_bytes == 1);
  // W_Q and W_O of three heads of 8, W_K and W_V of one, D 20.
  CHECK(stored.layer_bytes == 4 * 2 * (3 + 1) * 8 * 20);
  // 8,192 positions with at least their input, queries and output in float32.
  CHECK(stored.recompute_bytes > 8192 * 4 * (20 + 24 + 20));
  train::RunConfig config = base_config();
  config.model.num_ov_heads = 64;
  const train::MicroBatch batch{1 << 16, 1, 16, c10::Device(c10::kCUDA, 0), /*in_bfloat16=*/true,
                                stored};
  const train::MemoryPlan plan = train::memory_of(config.train, shape_of(config), batch);
  const int64_t values = batch.rank_sequences * batch.positions * 192;
  CHECK(plan.batch == 2 * values * (4 + 2 * 1) + stored.layer_bytes);
  // Many short parts: deviations and targets of the whole batch are more than a step holds.
  CHECK(plan.preparation >= 2 * 4 * values);
  CHECK(plan.peak() ==
        plan.weights + plan.moments + plan.batch + plan.preparation + plan.libraries);
}

TEST_CASE("the plan counts the lists of query rows where few heads are kept", "[train]") {
  train::RunConfig config = base_config();
  // Value weights that outweigh all else, so that weight gradients make the peak.
  config.model.num_ov_heads = 1 << 15;
  config.model.num_qk_heads = 32;
  config.model.d_qk = 32;
  config.train.initial_k = 64;
  constexpr int64_t kP = 64;
  const auto step = [&](int64_t final_k, bool in_bfloat16) {
    config.model.top_k = final_k;
    return train::memory_of(config.train, shape_of(config),
                            {8, 8, kP / 8, c10::Device(c10::kCUDA, 0), in_bfloat16})
        .step;
  };
  CHECK(step(16, true) - step(17, true) == 4 * (kP + 1) * 32);
  CHECK(step(16, false) == step(17, false));
}
