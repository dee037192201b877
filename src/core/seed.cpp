#include "lorsa/core/seed.h"

namespace lorsa {

uint64_t mix64(uint64_t value) noexcept {
  value += 0x9e3779b97f4a7c15ULL;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

uint64_t stream_seed(uint64_t seed, std::string_view stream) noexcept {
  // FNV-1a turns the name into 64 bits; mixing before and after keeps neighbouring seeds and
  // names that differ in one letter apart.
  uint64_t name = 0xcbf29ce484222325ULL;
  for (const char letter : stream) {
    name = (name ^ static_cast<unsigned char>(letter)) * 0x100000001b3ULL;
  }
  return mix64(mix64(seed) ^ name);
}

}  // namespace lorsa
