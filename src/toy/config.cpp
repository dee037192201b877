#include "lorsa/toy/config.h"

#include <algorithm>

#include "lorsa/core/error.h"

namespace lorsa::toy {
namespace {

void describe_task(config::Fields& f, ToyConfig::Task& c) {
  f.section("task", "What the target model is taught; docs/formats.md says what its rules are.");
  f.choice<TaskKind>("kind", c.kind,
                     {{"superposition", TaskKind::kSuperposition},
                      {"induction", TaskKind::kInduction},
                      {"successor", TaskKind::kSuccessor},
                      {"arithmetic", TaskKind::kArithmetic},
                      {"copy", TaskKind::kCopy}},
                     "The generator of rows.");
  f.count("context_length", c.context_length, "Tokens of a row, BOS included.").between(4, 4096);
  f.count("noise_tokens", c.noise_tokens, "Words that mean nothing (induction: all words).")
      .between(1, 100'000);
  f.count("rules", c.rules, "superposition: rules, each with a destination and an output.")
      .between(2, 10'000);
  f.count("sources", c.sources, "superposition: sources that the rules share.").between(2, 10'000);
  f.number("presence", c.presence, "superposition: share of the rows that hold the source.")
      .between(0, 1);
  f.count("segment", c.segment, "induction: tokens of the segment that returns.").between(2, 2048);
  f.count("scales", c.scales, "successor: ordinal scales.").between(1, 26);
  f.count("scale_length", c.scale_length, "successor: elements of a scale.").between(2, 10'000);
  f.count("operands", c.operands, "arithmetic: numbers 0 .. n-1, the modulus.").between(2, 10'000);
  f.count_list("distances", c.distances, "copy: how far before its marker a token stands.");
}

void describe_model(config::Fields& f, ToyConfig::Model& c) {
  f.section("model", "The target model, a Llama of random weights at the start.");
  f.count("d_model", c.d_model, "Width of the residual stream.").between(2, 4096);
  f.count("layers", c.layers, "Blocks.").between(1, 64);
  f.count("heads", c.heads, "Attention heads of a layer.").between(1, 256);
  f.count("head_width", c.head_width, "Width of a head, even.").between(2, 512);
  f.count("d_mlp", c.d_mlp,
          "Width of the MLP; 0: attention alone (an MLP with zero weights, the identity).")
      .between(0, 65536);
  f.number("rope_base", c.rope_base, "Base of the rotary embedding.").between(1, 1e9);
}

void describe_train(config::Fields& f, ToyConfig::Train& c) {
  f.section("train", "Adam on rows made as they are needed.");
  f.count("steps", c.steps, "Steps.").at_least(1);
  f.count("batch_rows", c.batch_rows, "Rows of a step.").between(1, 1'000'000);
  f.number("learning_rate", c.learning_rate, "Rate of Adam.").between(0, 1);
  f.number("decay_fraction", c.decay_fraction, "Last share of the steps over which it falls to 0.")
      .between(0, 1);
  f.number(
       "plant", c.plant,
       "Weight of the terms that make a single layer compute the rules as they are told: what "
       "it writes from other keys than a rule's sources goes to 0, and what it writes from them "
       "points at the answer's unembedding. 0: the answers alone are trained.")
      .between(0, 1000);
  f.number("plant_sharpness", c.plant_sharpness,
           "With plant: multiplies the cosines to all unembeddings before their softmax; lower "
           "values push the rules' outputs further apart.")
      .between(1e-3, 1000);
}

}  // namespace

void describe(config::Fields& f, ToyConfig& c) {
  f.section("run", "The run as a whole.");
  f.text("out", c.run.out, "Folder for model, corpus and truth.").required();
  f.count("seed", c.run.seed, "Seed of weights, training rows and corpus.").at_least(0);
  f.count("threads", c.run.threads, "CPU threads; 0 takes all cores.").between(0, 4096);
  describe_task(f, c.task);
  describe_model(f, c.model);
  describe_train(f, c.train);
  f.section("corpus", "The documents for lorsa-cache.");
  f.count("rows", c.corpus.rows, "Documents, one row each.").between(1, 1'000'000'000);
  f.number("holdout_fraction", c.corpus.holdout_fraction,
           "Share held out by the hash of the tokens, as lorsa-cache does with the same "
           "data.holdout_fraction; truth.json is about these.")
      .between(0, 1);
}

void validate(const ToyConfig& c) {
  const ToyConfig::Task& task = c.task;
  const int64_t T = task.context_length;
  LORSA_CHECK(c.model.head_width % 2 == 0, ConfigError,
              "model.head_width = {}: rotary embeddings need an even width", c.model.head_width);
  LORSA_CHECK(c.train.plant == 0.0 || c.model.layers == 1, ConfigError,
              "train.plant = {} plants rules in a single layer, but model.layers = {}",
              c.train.plant, c.model.layers);
  const auto needs = [&](int64_t least, const char* key, int64_t value) {
    LORSA_CHECK(T >= least, ConfigError,
                "task.context_length = {} is too short for {} = {}: needs {}", T, key, value,
                least);
  };
  switch (task.kind) {
    case TaskKind::kSuperposition:
      return;
    case TaskKind::kInduction:
      needs(2 * task.segment + 1, "task.segment", task.segment);
      LORSA_CHECK(task.noise_tokens >= T - 1, ConfigError,
                  "task.noise_tokens = {}: a row of task.context_length = {} needs as many words",
                  task.noise_tokens, T);
      return;
    case TaskKind::kSuccessor:
      needs(task.scales + 2, "task.scales", task.scales);
      return;
    case TaskKind::kArithmetic:
      needs(5, "task.operands", task.operands);
      return;
    case TaskKind::kCopy:
      LORSA_CHECK(!task.distances.empty() && std::ranges::min(task.distances) >= 1, ConfigError,
                  "task.distances: expected one or more distances of at least 1");
      needs(std::ranges::max(task.distances) + 2, "task.distances",
            std::ranges::max(task.distances));
      return;
  }
}

}  // namespace lorsa::toy
