#include <sstream>

#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/core/progress.h"
#include "lorsa/model/step_cost.h"
#include "lorsa/train/run.h"
#include "train/memory.h"
#include "train/start.h"

namespace lorsa::train {

std::string describe_plan(const RunConfig& config) {
  validate(config);
  const data::CacheReader cache(config.data.cache);
  std::vector<Member> members;
  members.emplace_back(config);
  check_cache(members.front(), cache);
  const model::DictionaryShape shape = shape_for(config.model, cache);
  const int64_t parameters = model::num_parameters(shape);
  const model::StepFlops flops = model::step_flops(shape, cache.manifest().context_length);
  const auto T = static_cast<double>(cache.manifest().context_length);
  const int64_t batch_tokens = config.data.batch_sequences * cache.manifest().context_length;
  const c10::Device device = resolve_device(config.run.device);
  const int64_t part = micro_batch_sequences(members, cache, config.data.batch_sequences, device,
                                             device_memory_bytes(device))
                           .front();
  const bool in_bfloat16 = computes_in_bfloat16(config.run.precision, device);
  const MemoryPlan memory =
      memory_of(config.train, shape,
                {config.data.batch_sequences, part, cache.manifest().context_length, device,
                 in_bfloat16, stored_form(cache)});
  const auto bytes = [](int64_t count) { return format_bytes(static_cast<double>(count)); };
  const auto num_rows = static_cast<int64_t>(cache.rows(data::Side::kTraining).size());
  const int64_t steps = (config.train.tokens + batch_tokens - 1) / batch_tokens;
  std::ostringstream out;
  out << "model          " << model::description(shape) << ", K " << shape.top_k << "\n"
      << "parameters     " << parameters << " (" << format_si(static_cast<double>(parameters))
      << ")\n"
      << "memory         " << bytes(memory.peak()) << " of tensors at most on one rank, "
      << device_description(device) << ", " << (in_bfloat16 ? "bfloat16" : "float32")
      << ": weights " << bytes(memory.weights) << ", moments " << bytes(memory.moments)
      << ", batch " << bytes(memory.batch) << ", step " << bytes(memory.passing())
      << (memory.peak() > device_memory_bytes(device)
              ? formatted("; more than there is: {}", bytes(device_memory_bytes(device)))
              : "")
      << "\n"
      << "micro-batches  " << part << " of " << config.data.batch_sequences
      << " sequences at a time\n"
      << "FLOPs a token  " << format_si(flops.sum()) << " (projections "
      << format_si(flops.projections) << ", attention " << format_si(flops.attention) << ", decode "
      << format_si(flops.decode) << ")\n"
      << "cache          " << num_rows << " training rows of " << cache.manifest().context_length
      << " = " << format_si(static_cast<double>(num_rows) * T) << " tokens\n"
      << "training       " << config.train.tokens << " tokens = " << steps << " steps of "
      << batch_tokens << ", "
      << static_cast<double>(config.train.tokens) / (static_cast<double>(num_rows) * T)
      << " passes\n"
      << "run folder     " << config.run.out
      << (std::filesystem::exists(config.run.out) ? " (exists: would be continued)" : "") << "\n";
  return out.str();
}

}  // namespace lorsa::train
