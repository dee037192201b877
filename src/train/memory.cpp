#include "train/memory.h"

#include <algorithm>
#include <span>

#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/core/progress.h"
#include "lorsa/model/step_cost.h"
#include "train/batch_queue.h"

namespace lorsa::train {
namespace {

using model::DictionaryShape;

constexpr double kUsableShare = 0.9;
/// What cuBLAS and cuBLASLt keep on sm_90 once they have been called, in LibTorch 2.11.
constexpr int64_t kCudaWorkspaces = int64_t{2} * 32 * 1024 * 1024;

/// Whether what is computed at a time may be chosen.
bool is_open(const Member& member) {
  return member.train.micro_batch_sequences == 0 &&
         member.model.activation != model::Activation::kBatchTopK;
}

/// Bytes for all members together where each computes its part of `parts` at a time.
int64_t needed_bytes(const std::vector<Member>& members,
                     const data::CacheReader& cache,
                     int64_t rank_sequences,
                     const std::vector<int64_t>& parts,
                     c10::Device device) {
  const int64_t T = cache.manifest().context_length;
  int64_t kept = 0;
  int64_t batch = 0;
  int64_t most = 0;
  for (size_t i = 0; i < members.size(); ++i) {
    const MemoryPlan plan =
        memory_of(members[i].train, shape_for(members[i].model, cache),
                  {rank_sequences, parts[i], T, device,
                   computes_in_bfloat16(members[i].run.precision, device), stored_form(cache)});
    kept += plan.weights + plan.moments;
    batch = std::max(batch, plan.batch);
    most = std::max(most, plan.passing());
  }
  return kept + batch + most;
}

/// What each member computes at a time if those that leave it open take `sequences`.
std::vector<int64_t> parts_of(std::span<const Member> members,
                              int64_t sequences,
                              int64_t rank_sequences) {
  std::vector<int64_t> parts;
  for (const Member& member : members) {
    const int64_t own = member.train.micro_batch_sequences;
    parts.push_back(is_open(member) ? sequences
                    : own > 0       ? std::min(own, rank_sequences)
                                    : rank_sequences);
  }
  return parts;
}

/// The most sequences that every member which leaves it open may compute at a time on CUDA; what
/// others compute is checked.
int64_t max_open_sequences(const std::vector<Member>& members,
                           const data::CacheReader& cache,
                           int64_t rank_sequences) {
  int64_t most = rank_sequences;
  for (const Member& member : members) {
    const int64_t own =
        model::max_cuda_sequences(shape_for(member.model, cache), cache.manifest().context_length);
    const int64_t least =
        is_open(member) ? 1 : parts_of({&member, 1}, rank_sequences, rank_sequences).front();
    LORSA_CHECK(least <= own, ConfigError,
                "train.micro_batch_sequences, data.batch_sequences: CUDA kernels take at most {} "
                "sequences of this model at a time, not {}",
                own, least);
    most = is_open(member) ? std::min(most, own) : most;
  }
  return most;
}

}  // namespace

MemoryPlan memory_of(const RunConfig::Train& train,
                     const DictionaryShape& shape,
                     const MicroBatch& batch) {
  const int64_t parameters = model::num_parameters(shape);
  MemoryPlan plan;
  plan.weights = 4 * parameters + (batch.in_bfloat16 ? 2 * model::num_matrix_values(shape) : 0);
  plan.moments = 2 * 4 * parameters;
  const int64_t tensors = model::kind_info(shape.kind).reads == model::Hook::kOutput ? 1 : 2;
  const int64_t values = batch.rank_sequences * batch.positions * shape.d_model;
  plan.batch = tensors * 4 * values;
  plan.preparation = 4 * values;  // deviations from the mean
  if (batch.device.is_cuda()) {
    // The batch whose copies run beside the step, and the one before, whose memory is not free yet.
    plan.batch += 2 * tensors * batch.stored.value_bytes * values + batch.stored.layer_bytes;
    plan.preparation = std::max(plan.preparation, batch.stored.recompute_bytes) +
                       (batch.stored.layer_bytes > 0 ? 4 * values : 0);
    plan.libraries = kCudaWorkspaces;
  }
  plan.sums = batch.sequences < batch.rank_sequences ? 4 * parameters : 0;
  const int64_t step = model::step_bytes(
      shape, {.num_positions = batch.sequences * batch.positions,
              .context_length = batch.positions,
              .top_k = train.initial_k,
              .aux_k = train.aux_k,
              .on_cuda = batch.device.is_cuda(),
              .in_bfloat16 = batch.in_bfloat16,
              .trains_qk = train.freeze == Freeze::kNone,
              .has_penalty = train.penalty != model::PenaltyKind::kNone,
              .measures_threshold = ends_as_jumprelu(train.final_activation, shape.activation)});
  // All gradients, and what turns W_O's rows.
  const int64_t optimizer =
      4 * parameters + (train.unit_decoder ? 4 * shape.num_ov_heads * shape.d_model : 0);
  plan.step = std::max(step, optimizer - plan.sums);
  return plan;
}

StoredForm stored_form(const data::CacheReader& cache) {
  const data::Manifest& manifest = cache.manifest();
  StoredForm form;
  switch (manifest.dtype) {
    case data::StoreDtype::kInt8:
      form.value_bytes = 1;
      break;
    case data::StoreDtype::kBFloat16:
      form.value_bytes = 2;
      break;
    case data::StoreDtype::kFloat32:
      form.value_bytes = 4;
      break;
  }
  if (manifest.store == data::StoreMode::kInput) {
    const kernels::Mhsa& layer = cache.attention();
    const int64_t own = layer.num_heads() * layer.head_width();
    const int64_t keys = layer.num_kv_heads() * layer.head_width();
    const int64_t D = layer.d_model();
    form.layer_bytes = 4 * 2 * (own + keys) * D;
    // Input and output, keys and values, queries and what attention gives in two layouts; keys and
    // values of heads that share theirs for each.
    form.recompute_bytes = 4 * recomputed_sequences(manifest.context_length) *
                           manifest.context_length *
                           (2 * D + 2 * keys + (own == keys ? 3 : 5) * own);
  }
  return form;
}

void check_host_memory(const std::vector<Member>& members,
                       const data::CacheReader& cache,
                       int64_t rank_sequences) {
  const std::vector<int64_t> parts = parts_of(members, rank_sequences, rank_sequences);
  check_memory(static_cast<double>(needed_bytes(members, cache, rank_sequences, parts, c10::kCPU)),
               c10::kCPU,
               formatted("training {}{} sequences a step (data.batch_sequences, "
                         "train.micro_batch_sequences, model.num_ov_heads)",
                         members.size() > 1 ? formatted("{} Lorsas on ", members.size())
                                            : std::string("on "),
                         rank_sequences));
}

std::vector<int64_t> micro_batch_sequences(const std::vector<Member>& members,
                                           const data::CacheReader& cache,
                                           int64_t rank_sequences,
                                           c10::Device device,
                                           int64_t device_bytes) {
  if (!device.is_cuda()) {
    return parts_of(members, rank_sequences, rank_sequences);
  }
  const auto usable = static_cast<int64_t>(kUsableShare * static_cast<double>(device_bytes));
  const auto needed = [&](int64_t sequences) {
    return needed_bytes(members, cache, rank_sequences,
                        parts_of(members, sequences, rank_sequences), device);
  };
  const bool whole = std::ranges::none_of(members, is_open);
  // What the configurations say is theirs to answer for.
  const bool chosen = std::ranges::all_of(
      members, [](const Member& member) { return member.train.micro_batch_sequences > 0; });
  const int64_t most = max_open_sequences(members, cache, rank_sequences);
  int64_t sequences = rank_sequences;
  while (sequences > most || (!chosen && needed(sequences) > usable)) {
    LORSA_CHECK(sequences > 1 && !whole, ConfigError,
                "training needs about {}{}, the device has {}; a smaller model.num_ov_heads, "
                "data.batch_sequences or fewer trainings at once would fit",
                format_bytes(static_cast<double>(needed(sequences))),
                whole ? " for the whole batch that batchtopk chooses from" : " for one sequence",
                format_bytes(static_cast<double>(device_bytes)));
    // Parts of equal size where possible.
    const int64_t parts = (rank_sequences + sequences - 1) / sequences + 1;
    sequences = std::min(sequences - 1, (rank_sequences + parts - 1) / parts);
  }
  return parts_of(members, sequences, rank_sequences);
}

}  // namespace lorsa::train
