#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lorsa/config/fields.h"
#include "lorsa/core/api.h"

namespace lorsa::toy {

/// What a target model is taught, and with it what its attention must do.
enum class TaskKind {
  kSuperposition,  ///< "source s ... destination d -> output o": more rules than heads and sources
  kInduction,      ///< a random segment returns: what followed the token there follows it here
  kSuccessor,      ///< the next element of the ordinal scale that is asked for
  kArithmetic,     ///< two operands and an operator, modulo the number of operands
  kCopy            ///< the token so many positions before
};

/// Configuration of `lorsa-toy`.
struct ToyConfig {
  struct Run {
    std::string out;
    int64_t seed = 0;
    int64_t threads = 0;
  } run;

  struct Task {
    TaskKind kind = TaskKind::kSuperposition;
    int64_t context_length = 12;
    int64_t noise_tokens = 30;
    int64_t rules = 12;
    int64_t sources = 3;
    double presence = 0.7;
    int64_t segment = 8;
    int64_t scales = 4;
    int64_t scale_length = 7;
    int64_t operands = 10;
    std::vector<int64_t> distances = {1, 2, 4, 8};
  } task;

  struct Model {
    int64_t d_model = 32;
    int64_t layers = 1;
    int64_t heads = 2;
    int64_t head_width = 8;
    int64_t d_mlp = 0;
    double rope_base = 10000.0;
  } model;

  struct Train {
    int64_t steps = 3000;
    int64_t batch_rows = 512;
    double learning_rate = 5e-3;
    double decay_fraction = 1.0 / 3.0;
    double plant = 0.0;
    double plant_sharpness = 6.0;
  } train;

  struct Corpus {
    int64_t rows = 50'000;
    double holdout_fraction = 0.1;
  } corpus;
};

LORSA_API void describe(config::Fields& fields, ToyConfig& config);

/// Settings that contradict each other: ConfigError naming both keys.
LORSA_API void validate(const ToyConfig& config);

}  // namespace lorsa::toy
