#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "lorsa/core/api.h"

namespace lorsa::io {

/// 64-bit XXH3 of `size` bytes, seed 0.
[[nodiscard]] LORSA_API uint64_t xxh3(const void* data, size_t size) noexcept;

/// 64-bit XXH3, seed 0, of bytes that come in parts.
class LORSA_API Xxh3 {
 public:
  Xxh3();
  ~Xxh3();
  Xxh3(Xxh3&&) noexcept;
  Xxh3& operator=(Xxh3&&) noexcept;

  void update(const void* data, size_t size) noexcept;
  /// Of the bytes so far.
  [[nodiscard]] uint64_t digest() const noexcept;
  /// Begins anew.
  void reset() noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// "xxh3:<16 hex digits>"
[[nodiscard]] LORSA_API std::string xxh3_text(uint64_t digest);

/// xxh3_text() of a file's bytes, streamed. Throws IoError.
[[nodiscard]] LORSA_API std::string file_xxh3(const std::filesystem::path& path);

/// Lower-case hex SHA-256 of a file's bytes, streamed. Throws IoError.
[[nodiscard]] LORSA_API std::string file_sha256(const std::filesystem::path& path);

}  // namespace lorsa::io
