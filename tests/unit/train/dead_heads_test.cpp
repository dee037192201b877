#include <ATen/ATen.h>

#include "lorsa/train/learner.h"
#include "support/lorsa_oracle.h"
#include "support/test.h"

using namespace lorsa;

namespace {

constexpr int64_t kBatchTokens = 20;
constexpr int64_t kPeriod = 100;

/// A step of a Lorsa whose heads 3 to 5 last acted `silent` tokens ago, with moments of 1 before.
train::OptimizerState moments_after_step(int64_t silent, int64_t aux_k) {
  at::manual_seed(4);
  model::DictionaryShape shape = test::small_shape(model::Activation::kTopK, false);
  model::Dictionary dictionary(shape, test::random_weights(shape, at::kFloat));
  // Their z is negative everywhere: no selection takes them, their gradients are 0.
  dictionary.weights().W_V.narrow(0, 3, 3).zero_();
  dictionary.weights().b_V.narrow(0, 3, 3).fill_(-1.0);
  train::Learner::Settings settings;
  settings.train.tokens = 100'000;
  settings.train.aux_k = aux_k;
  settings.train.dead_after_tokens = kPeriod;
  train::TrainerState state;
  state.tokens_seen = 1000;
  state.last_active_H = at::full({shape.num_ov_heads}, 1000, at::kLong);
  state.last_active_H.narrow(0, 3, 3).fill_(1000 - silent);
  state.optimizer = train::fresh_optimizer(dictionary.weights());
  for (model::DictionaryWeights* moments :
       {&state.optimizer.first_moment, &state.optimizer.second_moment}) {
    for (const auto& [name, moment] : moments->named()) {
      moment->fill_(1.0);
    }
  }
  const auto single = dist::make_communicator({});
  train::Learner learner(settings, {dictionary, state, *single});
  train::TrainingBatch batch;
  batch.input_BTD = at::randn({2, kBatchTokens / 2, shape.d_model});
  batch.target_BTD = at::randn({2, kBatchTokens / 2, shape.d_model});
  batch.squared_deviation = at::zeros({}, at::kDouble);
  batch.scored_BT = at::ones({2, kBatchTokens / 2}, at::kBool);
  batch.num_scored = batch.num_tokens = kBatchTokens;
  learner.step(batch);
  return state.optimizer;
}

bool all_zero(const at::Tensor& x) {
  return x.count_nonzero().item<int64_t>() == 0;
}

}  // namespace

TEST_CASE("AuxK forgets a head's moments when it is found dead and every period after", "[train]") {
  // Found dead by this step, by the one before, and once more a period later.
  for (const auto& [silent, forgets] :
       std::vector<std::pair<int64_t, bool>>{{kPeriod - 1, false},
                                             {kPeriod, true},
                                             {kPeriod + kBatchTokens - 1, true},
                                             {kPeriod + kBatchTokens, false},
                                             {2 * kPeriod, true}}) {
    train::OptimizerState optimizer = moments_after_step(silent, 2);
    INFO("silent for " << silent);
    for (model::DictionaryWeights* moments : {&optimizer.first_moment, &optimizer.second_moment}) {
      for (const char* name : {"W_V", "b_V", "W_O"}) {
        REQUIRE(all_zero(moments->at(name).narrow(0, 3, 3)) == forgets);
        REQUIRE_FALSE(all_zero(moments->at(name)[2]));
      }
      REQUIRE_FALSE(all_zero(moments->W_Q));
    }
  }
}

TEST_CASE("without AuxK the moments of dead heads only fade", "[train]") {
  train::OptimizerState optimizer = moments_after_step(kPeriod, 0);
  REQUIRE(optimizer.first_moment.W_V[4].eq(0.9F).all().item<bool>());
}
