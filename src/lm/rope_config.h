#pragma once

#include <string>
#include <vector>

#include "lorsa/io/json.h"
#include "lorsa/kernels/rope.h"

namespace lorsa::lm {

/// How an architecture's config.json names the rotary settings beside rope_scaling and
/// rope_parameters, which all architectures share.
struct RopeKeys {
  std::vector<std::string> base = {"rope_theta"};
  std::vector<std::string> share = {"partial_rotary_factor"};  ///< rotated share of a head
  double default_share = 1.0;
};

/// The rotary embedding of heads of `head_width`: base, scaling and share from `keys` and
/// rope_scaling (transformers 4) or from rope_parameters (transformers 5). Where a file has several
/// spellings they must agree. Throws FormatError: an unknown rope type or setting is named.
[[nodiscard]] kernels::RopeSpec read_rope(const io::Json& json,
                                          const std::string& where,
                                          int64_t head_width,
                                          const RopeKeys& keys = {});

}  // namespace lorsa::lm
