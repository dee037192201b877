#include <sstream>

#include "lorsa/core/progress.h"
#include "lorsa/train/run.h"
#include "train/start.h"

namespace lorsa::train {

std::string describe_plan(const RunConfig& config) {
  validate(config);
  const data::CacheReader cache(config.data.cache);
  check_cache(config, cache);
  const model::LorsaShape shape = shape_for(config, cache);
  int64_t parameters = 0;
  for (const std::string& name : model::weight_names(shape)) {
    int64_t size = 1;
    for (const int64_t n : model::weight_shape(shape, name)) {
      size *= n;
    }
    parameters += size;
  }
  const auto D = static_cast<double>(shape.d_model);
  const auto H = static_cast<double>(shape.num_ov_heads);
  const auto SE = static_cast<double>(shape.num_qk_heads * shape.d_qk);
  const auto T = static_cast<double>(cache.manifest().context_length);
  const auto K = static_cast<double>(shape.top_k);
  // Products: q, k, v and their weight gradients; causal attention (half of T^2) forward 2,
  // backward 5 products of widths E and G; sparse decode: forward, value gradient, weight gradient.
  const double projections = 2.0 * 2.0 * D * (2.0 * SE + H);
  const double attention = 0.5 * 2.0 * T * (SE + H) + 0.5 * 2.0 * T * (3.0 * SE + 2.0 * H);
  const double decode = 3.0 * 2.0 * K * D;
  const int64_t batch_tokens = config.data.batch_sequences * cache.manifest().context_length;
  const auto P = static_cast<double>(batch_tokens);
  const double weights_bytes =
      4.0 * 4.0 * static_cast<double>(parameters);  // weight, gradient, two moments
  // Per token: input and target; q, k, v, z and their gradients; kept heads.
  const double activation_bytes = 4.0 * P * (4.0 * D + 4.0 * SE + 4.0 * H + 3.0 * K);
  const auto num_rows = static_cast<int64_t>(cache.rows(data::Side::kTraining).size());
  const int64_t steps = (config.train.tokens + batch_tokens - 1) / batch_tokens;
  std::ostringstream out;
  out << "model          Lorsa, D " << shape.d_model << ", " << shape.num_ov_heads << " OV heads, "
      << shape.num_qk_heads << " QK heads of " << shape.d_qk << ", K " << shape.top_k << "\n"
      << "parameters     " << parameters << " (" << format_si(static_cast<double>(parameters))
      << ")\n"
      << "memory         about " << format_bytes(weights_bytes + activation_bytes) << ": "
      << format_bytes(weights_bytes) << " weights, gradients and moments, "
      << format_bytes(activation_bytes) << " activations\n"
      << "FLOPs a token  " << format_si(projections + attention + decode) << " (projections "
      << format_si(projections) << ", attention " << format_si(attention) << ", decode "
      << format_si(decode) << ")\n"
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
