#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lorsa::lm {

/// GPT-2's one-to-one map between the 256 bytes and printable characters, in which byte-level
/// vocabularies are written: "Ġ" is the space.
[[nodiscard]] const std::array<uint32_t, 256>& byte_level_characters();

/// The bytes that `token` (valid UTF-8) stands for; nothing if a character is not one of the 256.
[[nodiscard]] std::optional<std::string> byte_level_bytes(std::string_view token);

}  // namespace lorsa::lm
