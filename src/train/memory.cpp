#include "train/memory.h"

#include <algorithm>
#include <numeric>

#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/core/progress.h"
#include "train/start.h"

namespace lorsa::train {
namespace {

using model::DictionaryShape;

constexpr double kUsableShare = 0.9;
/// What cuBLAS and cuBLASLt keep on sm_90 once they have been called, in LibTorch 2.11.
constexpr int64_t kCudaWorkspaces = int64_t{2} * 32 * 1024 * 1024;

int64_t num_elements(const DictionaryShape& shape, const std::string& name) {
  const std::vector<int64_t> sizes = model::weight_shape(shape, name);
  return std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<>());
}

/// Bytes of the tensors of one step, named as in model/step.cpp.
class StepTensors {
 public:
  StepTensors(const RunConfig& config, const DictionaryShape& shape, const MicroBatch& batch)
      : cuda_(batch.device.is_cuda()),
        bfloat16_(computes_in_bfloat16(config, batch.device)),
        attends_(shape.has_attention()),
        trains_qk_(attends_ && config.train.freeze == Freeze::kNone),
        sparse_(shape.activation != model::Activation::kRelu &&
                shape.activation != model::Activation::kJumpRelu),
        penalty_(config.train.penalty != model::PenaltyKind::kNone),
        batchtopk_(shape.activation == model::Activation::kBatchTopK) {
    const int64_t P = batch.sequences * batch.positions;
    const int64_t e = bfloat16_ ? 2 : 4;
    const int64_t K = std::max(config.train.initial_k, shape.top_k);
    const int64_t SE = shape.num_qk_heads * shape.d_qk;
    const int64_t H = shape.num_ov_heads;
    const int64_t D = shape.d_model;
    x_ = bfloat16_ ? e * P * D : 0;
    qk_ = e * P * SE;
    v_ = e * P * H;
    z_full_ = 4 * P * H;
    lse_ = 4 * P * shape.num_qk_heads;
    // Normalised queries and keys in float32.
    norms_ = shape.qk_norm ? 2 * 4 * P * SE : 0;
    kept_ = sparse_ ? P * K * (e + 4) : 0;
    grad_kept_ = sparse_ ? P * K * e : 0;
    y_ = e * P * D;
    y_full_ = 4 * P * D;
    W_O_ = 4 * H * D;
    W_V_ = 4 * H * D;
    W_Q_ = 4 * SE * D;
    sort_ = cuda_ && sparse_ ? P * K * 24 : 0;
  }

  [[nodiscard]] int64_t peak() const {
    const int64_t forward = x_ + 2 * qk_ + norms_ + (attends_ ? 2 : 1) * v_ + lse_;
    const int64_t after_decode = kept_ + grad_kept_ + W_O_;
    if (!attends_) {
      // The gradient of z, spread over all features for the bias.
      return std::max(forward + decode(), forward + after_decode + grad_kept_ + sort_ + v_ + W_V_);
    }
    return std::max({forward + decode(), forward + after_decode + attention_backward(),
                     weight_gradients(after_decode)});
  }

 private:
  [[nodiscard]] int64_t decode() const {
    const int64_t target = bfloat16_ ? y_ : 0;
    if (!sparse_) {
      // Activations and their gradient, scores and their gradient; errors.
      return target + v_ + z_full_ * (penalty_ ? 5 : 3) + 2 * y_full_ + y_ + W_O_;
    }
    const int64_t chosen = target + kept_ + grad_kept_ + y_ + W_O_ + sort_;
    // Scores, those above 0 and, where several threads gather them, their places; what is kept of
    // z.
    return batchtopk_ ? std::max(chosen, target + 5 * z_full_) : chosen;
  }

  [[nodiscard]] int64_t attention_backward() const {
    const int64_t d_z = cuda_ || !sparse_ ? v_ : 0;
    // cuDNN sums dQ in float32.
    const int64_t workspace = cuda_ ? 2 * qk_ : 0;
    return d_z + v_ + (trains_qk_ || cuda_ ? 2 * qk_ + workspace : 0);
  }

  [[nodiscard]] int64_t weight_gradients(int64_t before) const {
    // The CPU's product cuts its right operand, the input, into panels.
    const int64_t panels = cuda_ ? 0 : y_full_;
    const int64_t base = x_ + norms_ + before + W_V_ + panels;
    if (!trains_qk_) {
      return base + v_;
    }
    return std::max({base + v_ + 2 * qk_, base + 2 * qk_ + W_Q_, base + qk_ + 2 * W_Q_});
  }

  const bool cuda_, bfloat16_, attends_, trains_qk_, sparse_, penalty_, batchtopk_;
  int64_t x_, qk_, v_, z_full_, lse_, norms_, kept_, grad_kept_, y_, y_full_, W_O_, W_V_, W_Q_,
      sort_;
};

/// Whether what is computed at a time may be chosen.
bool is_open(const RunConfig& member) {
  return member.train.micro_batch_sequences == 0 &&
         member.model.activation != model::Activation::kBatchTopK;
}

/// Bytes for all members together where each computes its part of `parts` at a time.
int64_t needed_bytes(const std::vector<RunConfig>& members,
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
        memory_of(members[i], shape_for(members[i], cache), {rank_sequences, parts[i], T, device});
    kept += plan.weights + plan.moments;
    batch = std::max(batch, plan.batch);
    most = std::max(most, plan.sums + plan.step + plan.libraries);
  }
  return kept + batch + most;
}

/// What each member computes at a time if those that leave it open take `sequences`.
std::vector<int64_t> parts_of(const std::vector<RunConfig>& members,
                              int64_t sequences,
                              int64_t rank_sequences) {
  std::vector<int64_t> parts;
  for (const RunConfig& member : members) {
    const int64_t own = member.train.micro_batch_sequences;
    parts.push_back(is_open(member) ? sequences
                    : own > 0       ? std::min(own, rank_sequences)
                                    : rank_sequences);
  }
  return parts;
}

}  // namespace

int64_t num_parameters(const DictionaryShape& shape) {
  int64_t sum = 0;
  for (const std::string& name : model::weight_names(shape)) {
    sum += num_elements(shape, name);
  }
  return sum;
}

MemoryPlan memory_of(const RunConfig& config,
                     const DictionaryShape& shape,
                     const MicroBatch& batch) {
  const int64_t parameters = num_parameters(shape);
  MemoryPlan plan;
  plan.weights = 4 * parameters;
  if (computes_in_bfloat16(config, batch.device)) {
    for (const char* name : model::kBFloat16Weights) {
      plan.weights += 2 * num_elements(shape, name);  // an SAE's W_Q and W_K have none
    }
  }
  plan.moments = 2 * 4 * parameters;
  const int64_t tensors = shape.reads_target() ? 1 : 2;
  plan.batch = tensors * 4 * batch.rank_sequences * batch.positions * shape.d_model;
  plan.sums = batch.sequences < batch.rank_sequences ? 4 * parameters : 0;
  plan.step = StepTensors(config, shape, batch).peak();
  plan.libraries = batch.device.is_cuda() ? kCudaWorkspaces : 0;
  return plan;
}

void check_host_memory(const std::vector<RunConfig>& members,
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

std::vector<int64_t> micro_batch_sequences(const std::vector<RunConfig>& members,
                                           const data::CacheReader& cache,
                                           int64_t rank_sequences,
                                           c10::Device device) {
  if (!device.is_cuda()) {
    return parts_of(members, rank_sequences, rank_sequences);
  }
  const auto usable =
      static_cast<int64_t>(kUsableShare * static_cast<double>(device_memory_bytes(device)));
  const auto needed = [&](int64_t sequences) {
    return needed_bytes(members, cache, rank_sequences,
                        parts_of(members, sequences, rank_sequences), device);
  };
  const bool whole = std::ranges::none_of(members, is_open);
  // What the configurations say is theirs to answer for.
  const bool chosen = std::ranges::all_of(
      members, [](const RunConfig& member) { return member.train.micro_batch_sequences > 0; });
  int64_t sequences = rank_sequences;
  while (!chosen && needed(sequences) > usable) {
    LORSA_CHECK(sequences > 1 && !whole, ConfigError,
                "training needs about {}{}, the device has {}; a smaller model.num_ov_heads, "
                "data.batch_sequences or sweep would fit",
                format_bytes(static_cast<double>(needed(sequences))),
                whole ? " for the whole batch that batchtopk chooses from" : " for one sequence",
                format_bytes(static_cast<double>(device_memory_bytes(device))));
    // Parts of equal size where possible.
    const int64_t parts = (rank_sequences + sequences - 1) / sequences + 1;
    sequences = std::min(sequences - 1, (rank_sequences + parts - 1) / parts);
  }
  return parts_of(members, sequences, rank_sequences);
}

}  // namespace lorsa::train
