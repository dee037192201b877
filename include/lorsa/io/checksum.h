#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace lorsa::io {

/// 64-bit XXH3 of `size` bytes, seed 0.
[[nodiscard]] uint64_t xxh3(const void* data, size_t size) noexcept;

/// "xxh3:<16 hex digits>" of a file's bytes, streamed. Throws IoError.
[[nodiscard]] std::string file_xxh3(const std::filesystem::path& path);

/// Lower-case hex SHA-256 of a file's bytes, streamed. Throws IoError.
[[nodiscard]] std::string file_sha256(const std::filesystem::path& path);

}  // namespace lorsa::io
