#pragma once

#include <cstdint>
#include <string_view>

namespace lorsa::metrics {

/// CRC-32C (Castagnoli) of the bytes, as in RFC 3720.
[[nodiscard]] uint32_t crc32c(std::string_view bytes) noexcept;

/// The form in which record files store a CRC-32C, so that the CRC of data that hold CRCs stays
/// useful: rotated right by 15 bits, plus 0xa282ead8.
[[nodiscard]] uint32_t masked_crc32c(std::string_view bytes) noexcept;

}  // namespace lorsa::metrics
