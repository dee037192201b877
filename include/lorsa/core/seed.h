#pragma once

#include <cstdint>
#include <string_view>

#include "lorsa/core/api.h"

namespace lorsa {

/// One step of SplitMix64 (Steele, Lea, Flood 2014): a bijective mix of 64 bits.
[[nodiscard]] LORSA_API uint64_t mix64(uint64_t value) noexcept;

/// An independent 64-bit seed for the named stream of a run: the same (seed, stream) gives the same
/// value on every machine.
[[nodiscard]] LORSA_API uint64_t stream_seed(uint64_t seed, std::string_view stream) noexcept;

}  // namespace lorsa
