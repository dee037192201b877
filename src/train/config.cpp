#include "lorsa/train/config.h"

#include "lorsa/core/error.h"

namespace lorsa::train {

namespace {

void describe_training(config::Fields& f, RunConfig::Train& train) {
  f.section("train", "The training loop.");
  f.count("tokens", train.tokens, "Tokens to train on, repeats of the cache included.")
      .required()
      .at_least(1);
  f.number("learning_rate", train.learning_rate, "Peak rate of Adam.").between(0, 1);
  f.count("warmup_tokens", train.warmup_tokens, "Tokens of linear warm-up.").at_least(0);
  f.number("decay_fraction", train.decay_fraction,
           "Last share of the tokens over which the rate falls to 0.")
      .between(0, 1);
  f.count(
       "initial_k", train.initial_k,
       "K at the start; 0 takes model.top_k. Above it few heads die, below it each head learns to "
       "stand for itself.")
      .at_least(0);
  f.count("k_anneal_tokens", train.k_anneal_tokens,
          "Tokens over which K goes from initial_k to top_k.")
      .at_least(0);
  f.choice<Anneal>("k_anneal", train.k_anneal,
                   {{"linear", Anneal::kLinear},
                    {"exponential", Anneal::kExponential},
                    {"cosine", Anneal::kCosine}},
                   "Shape of K's fall.");
  f.number("beta1", train.beta1, "Adam's decay of the first moment.").between(0, 1);
  f.number("beta2", train.beta2, "Adam's decay of the second moment.").between(0, 1);
  f.number("eps", train.eps, "Adam's epsilon.").between(0, 1);
  f.number("clip_norm", train.clip_norm, "Largest norm of the whole gradient; 0 does not clip.")
      .at_least(0);

  f.choice<Optimizer>("optimizer", train.optimizer,
                      {{"adam", Optimizer::kAdam},
                       {"adamw", Optimizer::kAdamW},
                       {"sparse_adam", Optimizer::kSparseAdam}},
                      "sparse_adam moves weights and moments only where the gradient is not 0.");
  f.number("weight_decay", train.weight_decay,
           "Decoupled weight decay of W_Q, W_K, W_V, W_O (adamw only).")
      .between(0, 1);
  f.count("micro_batch_sequences", train.micro_batch_sequences,
          "Sequences computed at a time on each rank, gradients summed; 0: on CUDA as many as fit "
          "into the device's memory, else all.")
      .at_least(0);
  f.boolean("unit_decoder", train.unit_decoder,
            "Keep the rows of W_O (an SAE's decoder) at length 1.");
  f.choice<Freeze>("freeze", train.freeze, {{"none", Freeze::kNone}, {"qk", Freeze::kQk}},
                   "qk leaves W_Q, W_K, their biases, norms and virtual keys as they start.");
  f.choice<model::PenaltyKind>("penalty", train.penalty,
                               {{"none", model::PenaltyKind::kNone},
                                {"l1", model::PenaltyKind::kL1},
                                {"tanh", model::PenaltyKind::kTanh},
                                {"l0", model::PenaltyKind::kL0}},
                               "What keeps relu and jumprelu sparse, of s = a |W_O|, mean over "
                               "scored tokens of the sum over heads (l0: jumprelu only).");
  f.number("penalty_coefficient", train.penalty_coefficient, "Multiplies the penalty.").at_least(0);
  f.number("penalty_stretch", train.penalty_stretch, "The c in tanh(c s).").between(1e-6, 1e6);
  f.count("penalty_warmup_tokens", train.penalty_warmup_tokens,
          "Tokens over which the penalty grows from 0.")
      .at_least(0);
  f.number("jumprelu_window", train.jumprelu_window,
           "Width of the straight-through rectangle that thresholds learn by, in scores.")
      .between(1e-9, 1e9);
  f.count("aux_k", train.aux_k,
          "AuxK: dead heads per position that reconstruct what the others leave; 0 is off.")
      .at_least(0);
  f.number("aux_coefficient", train.aux_coefficient, "Weight of AuxK's squared error.")
      .between(0, 1e6);
  f.count("dead_after_tokens", train.dead_after_tokens,
          "Tokens without an activation after which AuxK takes a head for dead.")
      .at_least(1);
  f.choice<FinalActivation>(
      "final_activation", train.final_activation,
      {{"auto", FinalActivation::kAuto},
       {"same", FinalActivation::kSame},
       {"jumprelu", FinalActivation::kJumpRelu}},
      "jumprelu gives final/ one threshold, the mean lowest kept score of late batches; auto does "
      "so for batchtopk.");
}

}  // namespace

void describe(config::Fields& f, RunConfig& c) {
  f.section("run", "Where a run writes and what it runs on.");
  f.text("out", c.run.out, "Run folder; an unfinished run there is continued.").required();
  f.count("seed", c.run.seed, "Seed of initialisation and data order.").at_least(0);
  f.text("device", c.run.device, "auto, cpu, cuda or cuda:N.");
  f.choice<Precision>("precision", c.run.precision,
                      {{"auto", Precision::kAuto},
                       {"float32", Precision::kFloat32},
                       {"bfloat16", Precision::kBFloat16}},
                      "bfloat16 computes in it with float32 weights, sums and moments (on the CPU "
                      "for checking: it is slower); auto is bfloat16 on CUDA, else float32.");
  f.count("threads", c.run.threads, "CPU threads; 0 takes all cores.").between(0, 4096);
  f.number("rank_timeout_s", c.run.rank_timeout_s,
           "How long one of several ranks (torchrun, mpirun, srun) waits for another.")
      .at_least(1.0);

  f.section("data", "What the run reads.");
  f.text("cache", c.data.cache, "Folder of one site's activation cache.").required();
  f.count("batch_sequences", c.data.batch_sequences, "Sequences of one step, over all ranks.")
      .between(1, 1'000'000);
  f.count("read_ahead_batches", c.data.read_ahead_batches,
          "Batches read ahead of the training step, at least one for each reader thread at work.")
      .between(1, 1000);
  f.count("reader_threads", c.data.reader_threads,
          "Threads that read the cache; 0: 4 for CUDA, else 1.")
      .between(0, 256);
  f.count("seed", c.data.seed, "Seed of the data order; -1 takes run.seed.").at_least(-1);

  f.section("model", "What is trained.");
  model::describe(f, c.model);

  f.section("init", "How the weights start.");
  model::describe(f, c.init);

  describe_training(f, c.train);

  f.retired("sweep", "lorsa-sweep trains several on one stream of batches");

  f.section("checkpoint", "What can be resumed from.");
  f.count("every_tokens", c.checkpoint.every_tokens, "Tokens between checkpoints.").at_least(1);
  f.count("keep", c.checkpoint.keep, "Newest checkpoints kept.").between(1, 1'000'000);

  f.section("log", "What is written while training.");
  f.count("every_tokens", c.log.every_tokens, "Tokens between lines of metrics.jsonl.").at_least(1);
  f.count("dead_window_tokens", c.log.dead_window_tokens,
          "A head without an activation for so many tokens counts as dead.")
      .at_least(1);
}

bool ends_as_jumprelu(FinalActivation final_activation, model::Activation trained) {
  switch (final_activation) {
    case FinalActivation::kAuto:
      return trained == model::Activation::kBatchTopK;
    case FinalActivation::kSame:
      return false;
    case FinalActivation::kJumpRelu:
      return trained != model::Activation::kJumpRelu;
  }
  throw Error("unknown final activation");
}

namespace {

/// Options of one kind of activation or optimiser that another does not know.
void validate_options(const RunConfig::Train& train, model::Activation activation, bool dense) {
  using model::Activation;
  using model::PenaltyKind;
  LORSA_CHECK(dense || train.penalty == PenaltyKind::kNone, ConfigError,
              "train.penalty: for relu and jumprelu; others keep model.top_k heads without one");
  LORSA_CHECK(train.penalty != PenaltyKind::kL0 || activation == Activation::kJumpRelu, ConfigError,
              "train.penalty: l0 reaches thresholds alone: it needs model.activation: jumprelu");
  LORSA_CHECK((train.penalty == PenaltyKind::kNone) == (train.penalty_coefficient == 0.0),
              ConfigError,
              "train.penalty and train.penalty_coefficient = {}: a penalty needs a coefficient "
              "above 0, and a coefficient a penalty",
              train.penalty_coefficient);
  LORSA_CHECK(!dense || train.aux_k == 0, ConfigError,
              "train.aux_k = {}: AuxK is for topk, topk_signed and batchtopk", train.aux_k);
  LORSA_CHECK(train.weight_decay == 0.0 || train.optimizer == Optimizer::kAdamW, ConfigError,
              "train.weight_decay = {} needs train.optimizer: adamw", train.weight_decay);
  LORSA_CHECK(train.micro_batch_sequences == 0 || activation != Activation::kBatchTopK, ConfigError,
              "train.micro_batch_sequences = {}: batchtopk chooses among the whole batch, which "
              "must be computed at once",
              train.micro_batch_sequences);
  LORSA_CHECK(train.final_activation != FinalActivation::kJumpRelu ||
                  activation == Activation::kTopK || activation == Activation::kBatchTopK,
              ConfigError, "train.final_activation: jumprelu can follow topk and batchtopk alone");
}

}  // namespace

void validate(const RunConfig& c) {
  const bool dense = c.model.activation == model::Activation::kRelu ||
                     c.model.activation == model::Activation::kJumpRelu;
  model::validate(c.model, c.init,
                  c.train.freeze == Freeze::kNone ? model::StepOptions::Qk::kTrain
                                                  : model::StepOptions::Qk::kFreeze);
  const RunConfig::Train& t = c.train;
  validate_options(t, c.model.activation, dense);
  LORSA_CHECK(t.initial_k <= c.model.num_ov_heads, ConfigError,
              "train.initial_k = {} exceeds model.num_ov_heads = {}", t.initial_k,
              c.model.num_ov_heads);
  LORSA_CHECK(t.warmup_tokens <= t.tokens, ConfigError,
              "train.warmup_tokens = {} exceeds train.tokens = {}", t.warmup_tokens, t.tokens);
  LORSA_CHECK(t.beta1 < 1.0 && t.beta2 < 1.0, ConfigError,
              "train.beta1 = {} and train.beta2 = {} must be below 1", t.beta1, t.beta2);
}

// A Llama-3.1-8B step takes 6 GB/s, hashed at their first reading; a CPU needs its threads itself.
int64_t reader_threads_for(const RunConfig::Data& data, c10::Device device) {
  constexpr int64_t kForCuda = 4;
  return data.reader_threads > 0 ? data.reader_threads : device.is_cuda() ? kForCuda : 1;
}

bool computes_in_bfloat16(Precision precision, c10::Device device) {
  return precision == Precision::kBFloat16 || (precision == Precision::kAuto && device.is_cuda());
}

}  // namespace lorsa::train
