#include "toy/target_model.h"

#include <ATen/ATen.h>

#include "lorsa/lm/language_model.h"
#include "support/temp_dir.h"
#include "support/tensors.h"
#include "support/test.h"
#include "toy/files.h"

using namespace lorsa;

namespace {

toy::ToyConfig config_of(int64_t layers, int64_t d_mlp) {
  toy::ToyConfig config;
  config.model.d_model = 24;
  config.model.layers = layers;
  config.model.heads = 3;
  config.model.d_mlp = d_mlp;
  return config;
}

/// Rows of random tokens, asked everywhere.
toy::TaskBatch batch_of(int64_t rows, int64_t length, int64_t vocabulary) {
  toy::TaskBatch batch;
  batch.tokens_BT =
      at::arange(rows * length, at::kLong).mul_(7).remainder_(vocabulary).view({rows, length});
  batch.asked_M = at::arange(rows * length, at::kLong);
  batch.answer_M = at::zeros({rows * length}, at::kLong);
  return batch;
}

}  // namespace

TEST_CASE("the written model computes what the training's forward pass does", "[toy]") {
  const int64_t d_mlp = GENERATE(0, 40);
  const toy::ToyConfig config = config_of(2, d_mlp);
  const auto task = toy::make_task(config.task);
  const auto vocabulary = static_cast<int64_t>(task->words().size());
  toy::TargetModel model(config.model, vocabulary, 5);
  // Gains other than 1, as training leaves them.
  for (auto& [name, tensor] : model.named()) {
    if (tensor.dim() == 1) {
      tensor.add_(at::linspace(-0.3, 0.4, tensor.numel()));
    }
  }
  const test::TempDir folder;
  toy::write_model(folder.path(), config.model, *task, model);
  const lm::LanguageModel written(folder.path(), c10::Device(c10::kCPU));
  const toy::TaskBatch batch = batch_of(3, 12, vocabulary);
  const at::Tensor expected = model.logits(batch).view({3, 12, vocabulary});
  REQUIRE(test::relative_error(written.logits(batch.tokens_BT), expected) < 1e-5);
}

TEST_CASE("without plant the loss is the answers' cross-entropy", "[toy]") {
  const toy::ToyConfig config = config_of(1, 0);
  const toy::TargetModel model(config.model, 50, 5);
  toy::TaskBatch batch = batch_of(4, 6, 50);
  const at::Tensor log_p = model.logits(batch).log_softmax(-1);
  REQUIRE(model.loss(batch, 0.0, 1.0).item<double>() ==
          Approx(-log_p.select(1, 0).mean().item<double>()).epsilon(1e-5));
}

TEST_CASE("planting counts what is written from other keys than the sources", "[toy]") {
  const toy::ToyConfig config = config_of(1, 0);
  const auto task = toy::make_task(config.task);
  const auto vocabulary = static_cast<int64_t>(task->words().size());
  toy::TargetModel model(config.model, vocabulary, 5);
  toy::TaskBatch batch = batch_of(2, 4, vocabulary);
  batch.asked_M = at::tensor({3, 7}, at::kLong);
  batch.answer_M = at::zeros({2}, at::kLong);
  batch.applied_M = at::empty({0}, at::kLong);
  batch.applied_answer_M = at::empty({0}, at::kLong);
  const double answered = model.loss(batch, 0.0, 1.0).item<double>();
  SECTION("every key is a source: nothing to be quiet about") {
    batch.source_BTT = at::ones({2, 4, 4});
    REQUIRE(model.loss(batch, 2.0, 1.0).item<double>() == Approx(answered).epsilon(1e-6));
  }
  SECTION("no key is: the squared norm of all that the layer writes") {
    batch.source_BTT = at::zeros({2, 4, 4});
    const test::TempDir folder;
    toy::write_model(folder.path(), config.model, *task, model);
    const auto layer = lm::LanguageModel(folder.path(), c10::Device(c10::kCPU))
                           .activations(batch.tokens_BT, {Site{0}});
    const at::Tensor square_P = layer[0].output_BTD.square().sum(-1).reshape({-1});
    const double asked = square_P.index_select(0, batch.asked_M).sum().item<double>();
    const double quiet = asked / 2.0 + (square_P.sum().item<double>() - asked) / 6.0;
    REQUIRE(model.loss(batch, 2.0, 1.0).item<double>() ==
            Approx(answered + 2.0 * quiet).epsilon(1e-4));
  }
}

TEST_CASE("an attention-only model trains no MLP", "[toy]") {
  const toy::TargetModel alone(config_of(1, 0).model, 50, 5);
  const toy::TargetModel whole(config_of(1, 8).model, 50, 5);
  REQUIRE(alone.trained().size() + 4 == whole.trained().size());
}
