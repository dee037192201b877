#include "lorsa/train/config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "lorsa/core/error.h"

namespace lorsa::train {

void describe(config::Fields& f, RunConfig& c) {
  f.section("run", "Where a run writes and what it runs on.");
  f.text("out", c.run.out, "Run folder; an unfinished run there is continued.").required();
  f.count("seed", c.run.seed, "Seed of initialisation and data order.").at_least(0);
  f.text("device", c.run.device, "auto, cpu, cuda or cuda:N.");
  f.choice<Precision>("precision",
                      c.run.precision,
                      {{"auto", Precision::kAuto}, {"float32", Precision::kFloat32}},
                      "Precision of the matrix products; auto is float32.");
  f.count("threads", c.run.threads, "CPU threads; 0 takes all cores.").between(0, 4096);

  f.section("data", "What the run reads.");
  f.text("cache", c.data.cache, "Folder of one layer's activation cache.").required();
  f.count("batch_sequences", c.data.batch_sequences, "Sequences of one step.").at_least(1);
  f.count(
       "read_ahead_batches", c.data.read_ahead_batches, "Batches read ahead of the training step.")
      .between(1, 1000);
  f.count("reader_threads", c.data.reader_threads, "Threads that read the cache.").between(1, 256);

  f.section("model", "What is trained.");
  f.choice<Kind>("kind", c.model.kind, {{"lorsa", Kind::kLorsa}}, "Kind of dictionary.");
  f.count("num_ov_heads", c.model.num_ov_heads, "OV heads H, each with a one-dimensional output.")
      .required()
      .at_least(1);
  f.count("num_qk_heads", c.model.num_qk_heads, "QK heads S; divides num_ov_heads.")
      .required()
      .at_least(1);
  f.count("d_qk", c.model.d_qk, "Width E of a QK head.").required().at_least(1);
  f.count("top_k", c.model.top_k, "OV heads K kept at every position.").required().at_least(1);
  f.choice<model::Activation>(
      "activation",
      c.model.activation,
      {{"topk", model::Activation::kTopK}, {"topk_signed", model::Activation::kTopKSigned}},
      "topk keeps the largest relu(z) |W_O|, topk_signed the largest |z| |W_O|.");
  f.number("attn_scale",
           c.model.attn_scale,
           "Divisor of the attention scores; 0 takes the layer's own where d_qk is its head width, "
           "else sqrt(d_qk).")
      .at_least(0);

  f.section("init", "How the weights start.");
  model::describe(f, c.init);

  f.section("train", "The training loop.");
  f.count("tokens", c.train.tokens, "Tokens to train on, repeats of the cache included.")
      .required()
      .at_least(1);
  f.number("learning_rate", c.train.learning_rate, "Peak rate of Adam.").between(0, 1);
  f.count("warmup_tokens", c.train.warmup_tokens, "Tokens of linear warm-up.").at_least(0);
  f.number("decay_fraction",
           c.train.decay_fraction,
           "Last share of the tokens over which the rate falls to 0.")
      .between(0, 1);
  f.count("initial_k", c.train.initial_k, "K at the start; 0 takes model.top_k.").at_least(0);
  f.count("k_anneal_tokens",
          c.train.k_anneal_tokens,
          "Tokens over which K falls from initial_k to top_k.")
      .at_least(0);
  f.choice<Anneal>("k_anneal",
                   c.train.k_anneal,
                   {{"linear", Anneal::kLinear},
                    {"exponential", Anneal::kExponential},
                    {"cosine", Anneal::kCosine}},
                   "Shape of K's fall.");
  f.number("beta1", c.train.beta1, "Adam's decay of the first moment.").between(0, 1);
  f.number("beta2", c.train.beta2, "Adam's decay of the second moment.").between(0, 1);
  f.number("eps", c.train.eps, "Adam's epsilon.").between(0, 1);
  f.number("clip_norm", c.train.clip_norm, "Largest norm of the whole gradient; 0 does not clip.")
      .at_least(0);

  f.section("checkpoint", "What can be resumed from.");
  f.count("every_tokens", c.checkpoint.every_tokens, "Tokens between checkpoints.").at_least(1);
  f.count("keep", c.checkpoint.keep, "Newest checkpoints kept.").between(1, 1'000'000);

  f.section("log", "What is written while training.");
  f.count("every_tokens", c.log.every_tokens, "Tokens between lines of metrics.jsonl.").at_least(1);
  f.count("dead_window_tokens",
          c.log.dead_window_tokens,
          "A head without an activation for so many tokens counts as dead.")
      .at_least(1);
}

void validate(const RunConfig& c) {
  LORSA_CHECK(c.model.num_ov_heads % c.model.num_qk_heads == 0,
              ConfigError,
              "model.num_qk_heads = ",
              c.model.num_qk_heads,
              " does not divide model.num_ov_heads = ",
              c.model.num_ov_heads);
  LORSA_CHECK(c.model.top_k <= c.model.num_ov_heads,
              ConfigError,
              "model.top_k = ",
              c.model.top_k,
              " exceeds model.num_ov_heads = ",
              c.model.num_ov_heads);
  LORSA_CHECK(c.train.initial_k == 0 ||
                  (c.train.initial_k >= c.model.top_k && c.train.initial_k <= c.model.num_ov_heads),
              ConfigError,
              "train.initial_k = ",
              c.train.initial_k,
              " must lie between model.top_k = ",
              c.model.top_k,
              " and model.num_ov_heads = ",
              c.model.num_ov_heads);
  LORSA_CHECK(c.train.warmup_tokens <= c.train.tokens,
              ConfigError,
              "train.warmup_tokens = ",
              c.train.warmup_tokens,
              " exceeds train.tokens = ",
              c.train.tokens);
  LORSA_CHECK(c.train.beta1 < 1.0 && c.train.beta2 < 1.0,
              ConfigError,
              "train.beta1 = ",
              c.train.beta1,
              " and train.beta2 = ",
              c.train.beta2,
              " must be below 1");
}

double learning_rate_at(const RunConfig::Train& train, double tokens) {
  const auto total = static_cast<double>(train.tokens);
  double factor = 1.0;
  if (train.warmup_tokens > 0) {
    factor = std::min(factor, tokens / static_cast<double>(train.warmup_tokens));
  }
  const double decay_tokens = train.decay_fraction * total;
  if (decay_tokens > 0.0) {
    factor = std::min(factor, (total - tokens) / decay_tokens);
  }
  return train.learning_rate * std::max(factor, 0.0);
}

int64_t top_k_at(const RunConfig::Train& train, int64_t top_k, int64_t tokens) {
  const int64_t start = train.initial_k > 0 ? train.initial_k : top_k;
  if (tokens >= train.k_anneal_tokens || start == top_k) {
    return top_k;
  }
  const double share = static_cast<double>(tokens) / static_cast<double>(train.k_anneal_tokens);
  const auto low = static_cast<double>(top_k);
  const auto high = static_cast<double>(start);
  double k = low;
  switch (train.k_anneal) {
    case Anneal::kLinear:
      k = high + (low - high) * share;
      break;
    case Anneal::kExponential:
      k = high * std::pow(low / high, share);
      break;
    case Anneal::kCosine:
      k = low + (high - low) * 0.5 * (1.0 + std::cos(std::numbers::pi * share));
      break;
  }
  return std::clamp(static_cast<int64_t>(std::lround(k)), top_k, start);
}

}  // namespace lorsa::train
