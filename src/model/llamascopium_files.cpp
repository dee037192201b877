#include "model/llamascopium_files.h"

#include <cmath>

namespace lorsa::model {

std::string peer_name(const std::string& name) {
  return name == "q_norm"          ? "ln_q.w"
         : name == "k_norm"        ? "ln_k.w"
         : name == "log_threshold" ? "activation_function.log_jumprelu_threshold"
                                   : name;
}

bool PeerNorms::finite() const {
  return std::isfinite(input) && std::isfinite(target);
}

bool PeerNorms::usable() const {
  return finite() && input > 0.0 && target > 0.0;
}

double scale_of_norm(int64_t d_model, double norm) {
  return std::sqrt(static_cast<double>(d_model)) / norm;
}

PeerNorms norms_of_scales(int64_t d_model, const CheckpointInfo& info) {
  const auto norm = [&](double scale) {
    return static_cast<float>(std::sqrt(static_cast<double>(d_model)) / scale);
  };
  return {norm(info.input_scale), norm(info.target_scale)};
}

}  // namespace lorsa::model
