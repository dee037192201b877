#include "lorsa/io/checksum.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <xxhash.h>

#include <array>
#include <cstdio>
#include <functional>
#include <memory>
#include <vector>

#include "io/file_descriptor.h"
#include "lorsa/core/error.h"

namespace lorsa::io {
namespace {

void for_each_block(const std::filesystem::path& path,
                    const std::function<void(const void*, size_t)>& use) {
  const FileDescriptor file(path, O_RDONLY);
  const uint64_t size = file.size(path);
  std::vector<char> block(size_t{1} << 20);
  for (uint64_t offset = 0; offset < size; offset += block.size()) {
    const size_t part = static_cast<size_t>(std::min<uint64_t>(block.size(), size - offset));
    pread_exact(file, block.data(), part, offset, path, "content");
    use(block.data(), part);
  }
}

}  // namespace

uint64_t xxh3(const void* data, size_t size) noexcept {
  return XXH3_64bits(data, size);
}

std::string file_xxh3(const std::filesystem::path& path) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       &XXH3_freeState);
  LORSA_CHECK(state != nullptr, Error, "XXH3_createState failed");
  LORSA_CHECK(XXH3_64bits_reset(state.get()) == XXH_OK, Error, "XXH3_64bits_reset failed");
  for_each_block(path, [&](const void* data, size_t size) {
    LORSA_CHECK(
        XXH3_64bits_update(state.get(), data, size) == XXH_OK, Error, "XXH3_64bits_update failed");
  });
  const unsigned long long digest = XXH3_64bits_digest(state.get());
  std::array<char, 17> hex{};
  std::snprintf(hex.data(), hex.size(), "%016llx", digest);
  return concat("xxh3:", hex.data());
}

std::string file_sha256(const std::filesystem::path& path) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  LORSA_CHECK(context != nullptr && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1,
              Error,
              "OpenSSL offers no SHA-256");
  for_each_block(path, [&](const void* data, size_t size) {
    LORSA_CHECK(EVP_DigestUpdate(context.get(), data, size) == 1, Error, "EVP_DigestUpdate failed");
  });
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  LORSA_CHECK(EVP_DigestFinal_ex(context.get(), digest.data(), &length) == 1,
              Error,
              "EVP_DigestFinal_ex failed");
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) {
    static constexpr std::string_view kDigits = "0123456789abcdef";
    hex += kDigits[digest[i] >> 4U];
    hex += kDigits[digest[i] & 15U];
  }
  return hex;
}

}  // namespace lorsa::io
