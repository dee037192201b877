#include <ATen/ATen.h>

#include <cmath>

#include "lorsa/core/error.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/io/files.h"
#include "support/tensors.h"
#include "support/test.h"
#include "tiny_run.h"

using namespace lorsa;
using model::Activation;
using model::PenaltyKind;
using test::bitwise_equal;
using test::final_weights;
using test::kStepTokens;
using test::make_config;
using test::run;

namespace {

namespace fs = std::filesystem;

/// An option in use, and its name.
struct Variant {
  const char* name;
  void (*set)(train::RunConfig&);
};

void make_sae(train::RunConfig& c) {
  c.model.kind = "sae";
  c.model.num_qk_heads = c.model.d_qk = 0;
  c.init.qk = model::QkInit::kRandom;
}

const std::vector<Variant> kVariants = {
    {"batchtopk", [](train::RunConfig& c) { c.model.activation = Activation::kBatchTopK; }},
    {"relu, l1",
     [](train::RunConfig& c) {
       c.model.activation = Activation::kRelu;
       c.model.top_k = c.train.initial_k = 0;
       c.train.penalty = PenaltyKind::kL1;
       c.train.penalty_coefficient = 0.05;
       c.train.penalty_warmup_tokens = 3 * kStepTokens;
     }},
    {"jumprelu, tanh",
     [](train::RunConfig& c) {
       c.model.activation = Activation::kJumpRelu;
       c.model.top_k = c.train.initial_k = 0;
       c.train.penalty = PenaltyKind::kTanh;
       c.train.penalty_coefficient = 0.05;
     }},
    {"jumprelu, l0",
     [](train::RunConfig& c) {
       c.model.activation = Activation::kJumpRelu;
       c.model.top_k = c.train.initial_k = 0;
       c.train.penalty = PenaltyKind::kL0;
       c.train.penalty_coefficient = 0.05;
     }},
    {"topk to jumprelu",
     [](train::RunConfig& c) { c.train.final_activation = train::FinalActivation::kJumpRelu; }},
    {"AuxK",
     [](train::RunConfig& c) {
       c.train.aux_k = 4;
       c.train.dead_after_tokens = kStepTokens;
     }},
    {"virtual keys", [](train::RunConfig& c) { c.model.num_virtual_keys = 2; }},
    {"adamw",
     [](train::RunConfig& c) {
       c.train.optimizer = train::Optimizer::kAdamW;
       c.train.weight_decay = 0.1;
     }},
    {"sparse_adam", [](train::RunConfig& c) { c.train.optimizer = train::Optimizer::kSparseAdam; }},
    {"clipping", [](train::RunConfig& c) { c.train.clip_norm = 0.1; }},
    {"frozen QK", [](train::RunConfig& c) { c.train.freeze = train::Freeze::kQk; }},
    {"bfloat16", [](train::RunConfig& c) { c.run.precision = train::Precision::kBFloat16; }},
    {"unit decoder", [](train::RunConfig& c) { c.train.unit_decoder = true; }},
    {"sae", [](train::RunConfig& c) { make_sae(c); }},
    {"sae, AuxK, unit decoder, bfloat16",
     [](train::RunConfig& c) {
       make_sae(c);
       c.train.unit_decoder = true;
       c.train.aux_k = 4;
       c.train.dead_after_tokens = kStepTokens;
       c.run.precision = train::Precision::kBFloat16;
     }},
    {"other data order", [](train::RunConfig& c) { c.data.seed = 5; }},
};

train::RunConfig with(const Variant& variant, const fs::path& root, const std::string& out) {
  train::RunConfig c = make_config(root, out);
  variant.set(c);
  return c;
}

/// Takes away what was written behind the first checkpoint.
void forget_end(const train::RunConfig& c) {
  const fs::path out(c.run.out);
  fs::remove_all(out / "final");
  for (const auto& entry : fs::directory_iterator(out / "checkpoints")) {
    if (entry.path().filename() != "tokens-000000000256") {
      fs::remove_all(entry.path());
    }
  }
}

/// |a - b| / |b|, lengths of the whole tensors: Adam makes a gradient that is all rounding as large
/// as any other, so single entries tell nothing.
double distance(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

/// Distance at which splitting the sums over the 4 * 16 positions of a step leaves a trained
/// tensor: each sum is off by about eps * sqrt(64), Adam keeps relative errors, and four steps at
/// most double them.
///
/// The gradient of b_K is the exception: a constant added to all keys moves every score of a query
/// alike, which the softmax does not see, so the terms of its sum would cancel to 0 but for the
/// rotation by position. Of the slowest of the four pairs of a head of 8, which turns by
/// 10000^(-6/8) a position, a share of one turn over the 16 positions is left of the terms, and
/// their rounding counts as many times more.
double rounding_of(const std::string& name) {
  const double rounding = 2 * std::ldexp(1.0, -24) * std::sqrt(4 * 16);
  const double left = 16 * std::pow(10000.0, -6.0 / 8.0);
  return name == "b_K" ? rounding / left : rounding;
}

model::DictionaryWeights initial_weights(train::RunConfig c, const fs::path& root) {
  c.run.out = (root / "initial").string();
  c.train.learning_rate = 0.0;
  run(c);
  return final_weights(c);
}

}  // namespace

TEST_CASE("every option changes the training and resumes bitwise", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  const train::RunConfig plain = make_config(dir.path(), "plain");
  run(plain);
  for (const Variant& variant : kVariants) {
    INFO(variant.name);
    const train::RunConfig whole = with(variant, dir.path(), formatted("whole {}", variant.name));
    run(whole);
    REQUIRE_FALSE(bitwise_equal(final_weights(plain), final_weights(whole)));
    const train::RunConfig cut = with(variant, dir.path(), formatted("cut {}", variant.name));
    run(cut);
    forget_end(cut);
    run(cut);
    REQUIRE(bitwise_equal(final_weights(whole), final_weights(cut)));
    REQUIRE(test::timeless(test::metrics(whole)) == test::timeless(test::metrics(cut)));
  }
}

TEST_CASE("micro-batches are the large batch to rounding", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  for (const size_t variant : {1U, 5U, 6U}) {
    train::RunConfig whole = with(kVariants[variant], dir.path(), formatted("whole{}", variant));
    whole.data.batch_sequences = 4;
    whole.train.learning_rate = 1e-3;
    whole.train.tokens = 4 * 64;  // few steps: Adam makes rounding of tiny gradients large
    run(whole);
    for (const int64_t rows : {1, 3}) {
      train::RunConfig parts = whole;
      parts.run.out = (dir / formatted("parts{}-{}", variant, rows)).string();
      parts.train.micro_batch_sequences = rows;
      run(parts);
      INFO(kVariants[variant].name << ", " << rows << " rows");
      model::DictionaryWeights expected = final_weights(whole);
      const model::DictionaryWeights found = final_weights(parts);
      for (const auto& [name, tensor] : found.named()) {
        INFO(name);
        REQUIRE(distance(*tensor, expected.at(name)) < rounding_of(name));
      }
    }
  }
}

TEST_CASE("unit_decoder keeps the decoder's rows at length 1", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  train::RunConfig c = make_config(dir.path(), "run");
  make_sae(c);
  c.train.unit_decoder = true;
  run(c);
  const model::LoadedDictionary final = model::load_checkpoint(fs::path(c.run.out) / "final");
  const at::Tensor norms = final.dictionary.output_norms() * final.info.target_scale;
  REQUIRE((norms - 1.0).abs().max().item<double>() < 1e-5);
}

TEST_CASE("an SAE trains on its target and its final checkpoint reconstructs raw targets",
          "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  train::RunConfig c = make_config(dir.path(), "run");
  make_sae(c);
  c.train.tokens = 40 * kStepTokens;
  run(c);
  const model::LoadedDictionary final = model::load_checkpoint(fs::path(c.run.out) / "final");
  REQUIRE(final.info.input_scale == final.info.target_scale);
  const data::CacheReader cache(c.data.cache);
  const data::Batch batch = cache.read(cache.rows(data::Side::kTraining));
  const at::Tensor scored = batch.scored_BT.unsqueeze(-1);
  const at::Tensor t = batch.target_BTD.to(at::kFloat);
  const at::Tensor mean = at::tensor(cache.manifest().target_mean, at::kDouble).to(at::kFloat);
  const at::Tensor y = final.dictionary.reconstruct(t).y_BTD;
  const double fvu =
      (((y - t).square() * scored).sum() / ((t - mean).square() * scored).sum()).item<double>();
  REQUIRE(fvu < 0.9 * test::metrics(c).front().at("fvu").get<double>());
}

TEST_CASE("an SAE with keys of attention is refused by name", "[train]") {
  train::RunConfig c = make_config("unused", "run");
  c.model.kind = "sae";
  REQUIRE_THROWS_WITH(train::validate(c), Catch::Contains("model.num_qk_heads = 3"));
  c.model.num_qk_heads = c.model.d_qk = 0;
  REQUIRE_THROWS_WITH(train::validate(c), Catch::Contains("init.qk"));
  c.model.kind = "lorsa";
  REQUIRE_THROWS_WITH(train::validate(c), Catch::Contains("model.num_qk_heads"));
}

TEST_CASE("a transcoder learns what an MLP writes from what it reads", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30, Component::kMlp);
  train::RunConfig c = make_config(dir.path(), "run");
  make_sae(c);
  c.model.kind = "transcoder";
  c.model.top_k = 8;
  c.train.tokens = 150 * kStepTokens;
  run(c);
  const model::LoadedDictionary final = model::load_checkpoint(fs::path(c.run.out) / "final");
  REQUIRE(final.dictionary.shape().kind == "transcoder");
  REQUIRE(final.info.site == Site{1, Component::kMlp});
  REQUIRE(final.info.input_scale != final.info.target_scale);
  const data::CacheReader cache(dir / "cache");
  REQUIRE(cache.find_attention() == nullptr);
  REQUIRE_THROWS_WITH(cache.attention(), Catch::Contains("layer 1, mlp"));
  const data::Batch batch = cache.read(cache.rows(data::Side::kHeldout));
  const at::Tensor scored = batch.scored_BT.unsqueeze(-1);
  const at::Tensor t = batch.target_BTD.to(at::kFloat);
  const at::Tensor mean = at::tensor(cache.manifest().target_mean, at::kDouble).to(at::kFloat);
  const at::Tensor y = final.dictionary.reconstruct(batch.input_BTD.to(at::kFloat)).y_BTD;
  const double fvu =
      (((y - t).square() * scored).sum() / ((t - mean).square() * scored).sum()).item<double>();
  REQUIRE(fvu < 0.7);
}

TEST_CASE("a kind is refused on a component that it does not stand for", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30, Component::kMlp);
  train::RunConfig c = make_config(dir.path(), "run");
  REQUIRE_THROWS_WITH(run(c), Catch::Contains("model.kind: lorsa stands for attention") &&
                                  Catch::Contains("layer 1, mlp"));
  test::write_tiny_cache(dir / "attention", 30);
  make_sae(c);
  c.model.kind = "transcoder";
  c.data.cache = (dir / "attention").string();
  REQUIRE_THROWS_WITH(run(c), Catch::Contains("model.kind: transcoder stands for mlp"));
  REQUIRE_FALSE(fs::exists(c.run.out));
}

TEST_CASE("freeze: qk leaves what makes the pattern as it starts", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  train::RunConfig c = make_config(dir.path(), "run");
  c.model.num_virtual_keys = 2;
  c.train.freeze = train::Freeze::kQk;
  run(c);
  model::DictionaryWeights start = initial_weights(c, dir.path());
  const model::DictionaryWeights found = final_weights(c);
  for (const auto& [name, tensor] : found.named()) {
    INFO(name);
    const bool moves = name == "W_V" || name == "b_V" || name == "W_O" || name == "b_D";
    REQUIRE(at::equal(*tensor, start.at(name)) != moves);
  }
}

TEST_CASE("sparse_adam leaves heads that never act as they start", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  train::RunConfig c = make_config(dir.path(), "run");
  c.train.optimizer = train::Optimizer::kSparseAdam;
  c.train.initial_k = 0;
  c.model.top_k = 1;
  c.train.warmup_tokens = 0;
  c.train.tokens = kStepTokens;
  run(c);
  model::DictionaryWeights start = initial_weights(c, dir.path());
  const model::DictionaryWeights found = final_weights(c);
  const at::Tensor moved_H = (found.W_O != start.W_O).any(1);
  const at::Tensor values_moved_H = (found.W_V != start.W_V).any(1);
  REQUIRE(moved_H.any().item<bool>());
  REQUIRE_FALSE(moved_H.all().item<bool>());
  REQUIRE_FALSE(at::logical_and(values_moved_H, moved_H.logical_not()).any().item<bool>());
}

TEST_CASE("batchtopk ends as a jumprelu Lorsa that keeps about K heads", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 60);
  train::RunConfig c = with(kVariants[0], dir.path(), "run");
  c.train.tokens = 100 * kStepTokens;
  run(c);
  const model::LoadedDictionary final = model::load_checkpoint(fs::path(c.run.out) / "final");
  REQUIRE(final.dictionary.shape().activation == Activation::kJumpRelu);
  const data::CacheReader cache(c.data.cache);
  const data::Batch batch = cache.read(cache.rows(data::Side::kTraining));
  const kernels::TopK kept = final.dictionary.reconstruct(batch.input_BTD.to(at::kFloat)).kept;
  const at::Tensor acts_P = (kept.value_PK != 0).sum(1);
  const double l0 =
      acts_P.masked_select(batch.scored_BT.view({-1})).to(at::kDouble).mean().item<double>();
  REQUIRE(l0 > 0.7 * static_cast<double>(c.model.top_k));
  REQUIRE(l0 < 1.4 * static_cast<double>(c.model.top_k));
  c.run.out = (dir / "same").string();
  c.train.final_activation = train::FinalActivation::kSame;
  run(c);
  REQUIRE(model::load_checkpoint(fs::path(c.run.out) / "final").dictionary.shape().activation ==
          Activation::kBatchTopK);
}

TEST_CASE("a trainer's state of the first schema is still read", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  const train::RunConfig whole = make_config(dir.path(), "whole");
  run(whole);
  const train::RunConfig old = make_config(dir.path(), "old");
  run(old);
  forget_end(old);
  const fs::path path = dir / "old/checkpoints/tokens-000000000256/trainer.json";
  io::Json json = io::read_json(path);
  json["schema"] = "lorsa-trainer-1";
  json.erase("threshold_sum");
  json.erase("threshold_count");
  json["window"].erase("penalty");
  json["window"].erase("auxiliary_loss");
  io::write_json(path, json);
  run(old);
  REQUIRE(bitwise_equal(final_weights(whole), final_weights(old)));
}

TEST_CASE("the run folder has event files and a report", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  const train::RunConfig c = make_config(dir.path(), "run");
  run(c);
  REQUIRE(fs::exists(dir / "run/report.html"));
  size_t events = 0;
  for (const auto& entry : fs::directory_iterator(dir / "run")) {
    events += entry.path().filename().string().starts_with("events.out.tfevents.") ? 1 : 0;
  }
  REQUIRE(events == 1);
}

TEST_CASE("options that contradict each other are refused by name", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  const auto refused = [&](void (*set)(train::RunConfig&), const char* key) {
    train::RunConfig c = make_config(dir.path(), "run");
    set(c);
    INFO(key);
    REQUIRE_THROWS_AS(run(c), ConfigError);
    REQUIRE_THROWS_WITH(run(c), Catch::Contains(key));
  };
  refused([](train::RunConfig& c) { c.train.penalty = PenaltyKind::kL1; }, "train.penalty");
  refused(
      [](train::RunConfig& c) {
        c.model.activation = Activation::kRelu;
        c.train.penalty = PenaltyKind::kL0;
        c.train.penalty_coefficient = 1.0;
      },
      "jumprelu");
  refused(
      [](train::RunConfig& c) {
        c.model.activation = Activation::kRelu;
        c.train.penalty = PenaltyKind::kL1;
      },
      "train.penalty_coefficient");
  refused(
      [](train::RunConfig& c) {
        c.model.activation = Activation::kRelu;
        c.train.aux_k = 3;
      },
      "train.aux_k");
  refused([](train::RunConfig& c) { c.train.weight_decay = 0.1; }, "adamw");
  refused(
      [](train::RunConfig& c) {
        c.model.activation = Activation::kBatchTopK;
        c.train.micro_batch_sequences = 1;
      },
      "train.micro_batch_sequences");
  refused(
      [](train::RunConfig& c) {
        c.model.activation = Activation::kTopKSigned;
        c.train.final_activation = train::FinalActivation::kJumpRelu;
      },
      "train.final_activation");
  refused([](train::RunConfig& c) { c.model.top_k = 0; }, "model.top_k");
}
