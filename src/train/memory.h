#pragma once

#include <c10/core/Device.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lorsa/data/cache_reader.h"
#include "lorsa/train/config.h"
#include "train/start.h"

namespace lorsa::train {

/// Bytes of the tensors that one Lorsa's training holds; what a kernel takes for itself inside a
/// call is part of `step` only where it is LibTorch's memory.
struct MemoryPlan {
  int64_t weights = 0;      ///< with their bfloat16 copies
  int64_t moments = 0;      ///< Adam's
  int64_t batch = 0;        ///< input and target of this rank's sequences, on CUDA also as stored
  int64_t preparation = 0;  ///< what makes them of what is stored, while there is no step
  int64_t sums = 0;         ///< gradients of earlier micro-batches
  int64_t step = 0;         ///< the most that a micro-batch or the optimizer holds at once
  int64_t libraries = 0;    ///< workspaces of cuBLAS

  /// What there is only for a while.
  [[nodiscard]] int64_t passing() const { return std::max(preparation, sums + step) + libraries; }

  [[nodiscard]] int64_t peak() const { return weights + moments + batch + passing(); }
};

/// What a CUDA device makes of a cache's batches itself.
struct StoredForm {
  int64_t value_bytes = 0;      ///< of a stored value
  int64_t layer_bytes = 0;      ///< of the layer that computes targets; 0 where they are stored
  int64_t recompute_bytes = 0;  ///< while it does so for some sequences
};

[[nodiscard]] StoredForm stored_form(const data::CacheReader& cache);

/// What is computed at a time, on what.
struct MicroBatch {
  int64_t rank_sequences = 0;  ///< of one step on one rank
  int64_t sequences = 0;       ///< computed at a time
  int64_t positions = 0;       ///< T
  c10::Device device = c10::kCPU;
  bool in_bfloat16 = false;
  StoredForm stored = {};
};

/// With model::step_bytes() for the step itself, checked against measured peaks
/// (tests/unit/train/memory_test.cpp, tests/gpu). Exact to a few percent for topk and topk_signed;
/// the many intermediates of batchtopk and the dense activations are counted roughly.
[[nodiscard]] MemoryPlan memory_of(const RunConfig::Train& train,
                                   const model::DictionaryShape& shape,
                                   const MicroBatch& batch);

/// ConfigError where training the members on the CPU, whole batches at a time or what they say,
/// needs more than this machine has in all.
void check_host_memory(const std::vector<Member>& members,
                       const data::CacheReader& cache,
                       int64_t rank_sequences);

/// Of every member train.micro_batch_sequences, or what it leaves open: the whole batch on the CPU
/// and for batchtopk; on CUDA the most, for all that leave it open, whose plan fits into nine
/// tenths of `device_bytes` beside the other members. Throws ConfigError where one sequence does
/// not fit, or where a member computes more at a time than model::max_cuda_sequences().
[[nodiscard]] std::vector<int64_t> micro_batch_sequences(const std::vector<Member>& members,
                                                         const data::CacheReader& cache,
                                                         int64_t rank_sequences,
                                                         c10::Device device,
                                                         int64_t device_bytes);

}  // namespace lorsa::train
