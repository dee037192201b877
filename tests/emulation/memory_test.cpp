#include "train/memory.h"

#include <ATen/ATen.h>

#include "emulation/emulated_cuda.h"
#include "lorsa/train/learner.h"
#include "support/counting_allocator.h"
#include "support/lorsa_oracle.h"
#include "support/test.h"

// What a training on a device holds, by the CUDA kernels' bindings.

using namespace lorsa;

namespace {

using RunTrain = train::RunConfig::Train;

struct PlanCase {
  const char* name;
  const char* kind;
  int64_t num_ov_heads, top_k, aux_k, initial_k;
};

/// The most that a step holds at once.
int64_t measured_peak(const model::DictionaryShape& shape,
                      const RunTrain& settings,
                      int64_t sequences,
                      int64_t positions) {
  const test::CountingAllocator allocator;
  const emulation::EmulatedCuda device;
  const auto single = dist::make_communicator({});
  model::Dictionary dictionary(shape, test::random_weights(shape, at::kFloat));
  train::TrainerState state;
  state.optimizer = train::fresh_optimizer(dictionary.weights());
  state.last_active_H = at::full({shape.num_ov_heads}, -1, at::kLong);
  train::Learner::Settings all;
  all.train = settings;
  train::Learner learner(all, {dictionary, state, *single});
  train::TrainingBatch batch;
  batch.target_BTD = at::randn({sequences, positions, shape.d_model});
  batch.input_BTD =
      shape.num_qk_heads == 0 ? batch.target_BTD : at::randn({sequences, positions, shape.d_model});
  batch.squared_deviation = at::zeros({}, at::kDouble);
  batch.scored_BT = at::ones({sequences, positions}, at::kBool);
  batch.num_scored = batch.num_tokens = sequences * positions;
  learner.step(batch);
  return allocator.peak();
}

}  // namespace

TEST_CASE("the plan for a device is what a step holds at its peak", "[emulation][memory]") {
  constexpr int64_t kBatch = 1;
  constexpr int64_t kLength = 32;
  for (const PlanCase& c :
       {PlanCase{"gathers", "lorsa", 512, 16, 0, 0}, PlanCase{"products", "lorsa", 512, 16, 0, 128},
        PlanCase{"gathers for AuxK", "lorsa", 512, 8, 24, 0},
        PlanCase{"products for AuxK", "lorsa", 512, 8, 128, 0},
        PlanCase{"SAE, gathers", "sae", 1024, 48, 0, 0},
        PlanCase{"SAE, products", "sae", 1024, 192, 0, 0},
        PlanCase{"SAE, AuxK", "sae", 1024, 32, 64, 0}}) {
    model::DictionaryShape shape;
    shape.kind = c.kind;
    shape.d_model = 24;
    shape.num_ov_heads = c.num_ov_heads;
    shape.top_k = c.top_k;
    if (shape.kind == "lorsa") {
      // No width of the fused kernels, which the emulation has not.
      shape.num_qk_heads = 8;
      shape.d_qk = 18;
      shape.attn_scale = 4.0;
      shape.rope.rotary_dim = 18;
    }
    RunTrain settings;
    settings.tokens = 1 << 20;
    settings.initial_k = c.initial_k;
    settings.k_anneal_tokens = c.initial_k > 0 ? settings.tokens : 0;
    settings.aux_k = c.aux_k;
    settings.dead_after_tokens = 1;
    const train::MemoryPlan plan = train::memory_of(
        settings, shape, {kBatch, kBatch, kLength, c10::Device(c10::kCUDA, 0), false});
    const int64_t measured = measured_peak(shape, settings, kBatch, kLength);
    INFO(c.name << ": planned " << plan.peak() - plan.libraries << ", measured " << measured
                << ", step " << plan.step);
    CHECK(static_cast<double>(plan.peak() - plan.libraries) ==
          Approx(static_cast<double>(measured)).epsilon(0.1));
  }
}
