#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace lorsa::dist {

enum class CollectiveKind { kSum, kMax, kBroadcast, kAllGather, kBarrier };

/// One call that all ranks make; what backends carry out.
struct Collective {
  CollectiveKind kind;
  at::Tensor tensor;    ///< undefined for kBarrier; never empty
  int64_t root;         ///< of kBroadcast
  at::Tensor gathered;  ///< of kAllGather: [world_size, ...], contiguous
};

/// "all_reduce_sum of Float[4096, 64]"; header-only, because liblorsa_cuda.so needs it too.
inline std::string to_string(const Collective& collective) {
  std::string text;
  switch (collective.kind) {
    case CollectiveKind::kSum:
      text = "all_reduce_sum";
      break;
    case CollectiveKind::kMax:
      text = "all_reduce_max";
      break;
    case CollectiveKind::kBroadcast:
      text = "broadcast";
      break;
    case CollectiveKind::kAllGather:
      text = "all_gather";
      break;
    case CollectiveKind::kBarrier:
      return "barrier";
  }
  text += std::string(" of ") + c10::toString(collective.tensor.scalar_type()) + "[";
  for (int64_t axis = 0; axis < collective.tensor.dim(); ++axis) {
    text += (axis == 0 ? "" : ", ") + std::to_string(collective.tensor.size(axis));
  }
  return text + "]";
}

}  // namespace lorsa::dist
