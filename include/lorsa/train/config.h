#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

#include "lorsa/config/fields.h"
#include "lorsa/core/api.h"
#include "lorsa/model/initialize.h"
#include "lorsa/model/settings.h"

namespace lorsa::train {

enum class Precision { kAuto, kFloat32, kBFloat16 };
enum class Anneal { kLinear, kExponential, kCosine };
enum class Optimizer { kAdam, kAdamW, kSparseAdam };
enum class Freeze { kNone, kQk };
/// What the Lorsa in final/ selects by: kAuto makes batchtopk a jumprelu and leaves others.
enum class FinalActivation { kAuto, kSame, kJumpRelu };

/// Everything that a training run is configured by; `describe` gives keys, ranges and help.
struct RunConfig {
  struct Run {
    std::string out;
    int64_t seed = 0;
    std::string device = "auto";
    Precision precision = Precision::kAuto;
    int64_t threads = 0;
    double rank_timeout_s = 600.0;
  } run;

  struct Data {
    std::string cache;
    int64_t batch_sequences = 4;
    int64_t read_ahead_batches = 4;
    int64_t reader_threads = 0;
    int64_t seed = -1;
  } data;

  model::DictionarySettings model;

  model::InitConfig init;

  struct Train {
    int64_t tokens = 0;
    double learning_rate = 1e-3;
    int64_t warmup_tokens = 0;
    double decay_fraction = 0.2;
    int64_t initial_k = 0;
    int64_t k_anneal_tokens = 0;
    Anneal k_anneal = Anneal::kLinear;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double clip_norm = 0.0;
    Optimizer optimizer = Optimizer::kAdam;
    double weight_decay = 0.0;
    int64_t micro_batch_sequences = 0;
    bool unit_decoder = false;
    Freeze freeze = Freeze::kNone;
    model::PenaltyKind penalty = model::PenaltyKind::kNone;
    double penalty_coefficient = 0.0;
    double penalty_stretch = 1.0;
    int64_t penalty_warmup_tokens = 0;
    double jumprelu_window = 2.0;
    int64_t aux_k = 0;
    double aux_coefficient = 1.0 / 32.0;
    int64_t dead_after_tokens = 100'000;
    FinalActivation final_activation = FinalActivation::kAuto;
  } train;

  struct Checkpoint {
    int64_t every_tokens = 1'000'000;
    int64_t keep = 2;
  } checkpoint;

  struct Log {
    int64_t every_tokens = 10'000;
    int64_t dead_window_tokens = 100'000;
  } log;
};

LORSA_API void describe(config::Fields& fields, RunConfig& config);

/// Settings that contradict each other whatever the cache: ConfigError naming both keys.
LORSA_API void validate(const RunConfig& config);

/// The rate for a step whose middle lies at `tokens`: linear warm-up, constant, linear decay to 0
/// over the last decay_fraction of the budget.
[[nodiscard]] LORSA_API double learning_rate_at(const RunConfig::Train& train, double tokens);

/// K for a step that begins at `tokens`: from initial_k (0: top_k) to top_k over k_anneal_tokens,
/// then top_k.
[[nodiscard]] LORSA_API int64_t top_k_at(const RunConfig::Train& train,
                                         int64_t top_k,
                                         int64_t tokens);

/// The penalty's coefficient for a step that begins at `tokens`: linear warm-up, then constant.
[[nodiscard]] LORSA_API double penalty_at(const RunConfig::Train& train, int64_t tokens);

/// data.reader_threads, or what it leaves open for this device.
[[nodiscard]] LORSA_API int64_t reader_threads_for(const RunConfig::Data& data, c10::Device device);

/// Whether run.precision asks for bfloat16 on this device: auto does on CUDA.
[[nodiscard]] LORSA_API bool computes_in_bfloat16(Precision precision, c10::Device device);

/// Whether final/ holds a jumprelu Lorsa made of one `trained` as topk or batchtopk.
[[nodiscard]] LORSA_API bool ends_as_jumprelu(FinalActivation final_activation,
                                              model::Activation trained);

}  // namespace lorsa::train
