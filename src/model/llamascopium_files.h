#pragma once

#include <cstdint>
#include <string>

#include "lorsa/model/checkpoint.h"

// What reading and writing llamascopium's two files share.

namespace lorsa::model {

inline constexpr const char* kPeerConfigFile = "config.json";
inline constexpr const char* kPeerWeightsFile = "sae_weights.safetensors";
inline constexpr const char* kPeerNormPrefix = "dataset_average_activation_norm.";
/// The release whose files these are, as the safetensors metadata names it.
inline constexpr const char* kPeerVersion = "2.0.0b34";
/// The key of config.json under which a Lorsa's own fields travel. llamascopium passes over it.
inline constexpr const char* kOwnKey = "lorsa";

/// The tensor that holds the weight `name`.
[[nodiscard]] std::string peer_name(const std::string& name);

/// The two mean norms as their tensors hold them.
struct PeerNorms {
  double input = 0.0;
  double target = 0.0;

  [[nodiscard]] bool finite() const;
  [[nodiscard]] bool usable() const;  ///< as divisors of scales
};

/// sqrt(D) / norm.
[[nodiscard]] double scale_of_norm(int64_t d_model, double norm);

/// sqrt(D) / scale for both, rounded to float32, which gives the norm again that a scale was made
/// of.
[[nodiscard]] PeerNorms norms_of_scales(int64_t d_model, const CheckpointInfo& info);

}  // namespace lorsa::model
