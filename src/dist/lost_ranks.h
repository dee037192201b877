#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lorsa::dist {

/// What a rank that has waited for too long found out about the others.
struct RollCall {
  /// Of a rank that gave no answer.
  static constexpr int64_t kSilent = -1;

  std::string operation;  ///< "all_reduce_sum of Float[4096]"
  int64_t number = 0;     ///< of the operation, counted from 1 on every rank alike
  int64_t rank = 0;       ///< that waits
  double timeout_s = 0;
  std::vector<int64_t> begun;  ///< operations that each rank has begun, or kSilent
};

/// The message of the DeviceError: operation, time-out and the ranks that did not arrive.
[[nodiscard]] std::string lost_ranks_message(const RollCall& roll_call);

/// "rank 3", "ranks 1, 2 and 5", "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 24 more".
[[nodiscard]] std::string list_ranks(const std::vector<int64_t>& ranks);

}  // namespace lorsa::dist
