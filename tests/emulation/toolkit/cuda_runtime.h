#pragma once

// What kernels use of CUDA, in C++: translated sources (translate.py) find this in place of the
// toolkit's header. An intrinsic that is missing is a compile error; it belongs here.

#include <math.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "emulation/grid.h"
#include "vector_types.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

// Of the thread that runs.
extern dim3 threadIdx;
extern dim3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;

using cudaStream_t = struct CUstream_st*;

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorInvalidConfiguration = 9 };

cudaError_t cudaGetLastError();
const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int bytes) {
  return ::lorsa::emulation::allow_dynamic_shared(static_cast<size_t>(bytes))
             ? cudaSuccess
             : cudaErrorInvalidValue;
}

/// A launch returns when its grid is done.
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return cudaSuccess;
}

namespace lorsa::emulation {

/// What a launch is translated to.
struct Launcher {
  Place place;
  dim3 grid_size;
  dim3 block_size;
  size_t dynamic_bytes;

  /// Every thread gets copies of the arguments.
  template <typename Kernel, typename... Arguments>
  void operator()(const Kernel& kernel, Arguments... arguments) const {
    const auto thread = [&] { kernel(arguments...); };
    run_grid(
        place, grid_size, block_size, dynamic_bytes,
        [](const void* data) { (*static_cast<decltype(&thread)>(data))(); }, &thread);
  }
};

inline Launcher launcher(Place place,
                         dim3 grid_size,
                         dim3 block_size,
                         size_t dynamic_bytes = 0,
                         cudaStream_t = nullptr) {
  return {place, grid_size, block_size, dynamic_bytes};
}

/// The memory behind `__shared__ T name`; `function` tells instances of a template apart.
template <typename T>
T& shared(const char* name, const char* function, int line) {
  return *static_cast<T*>(shared_variable({name, function, line}, sizeof(T), alignof(T)));
}

template <typename T>
T* dynamic_shared(const char* name) {
  return static_cast<T*>(dynamic_shared_memory(name));
}

template <typename T>
uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= sizeof(uint64_t) && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}

template <typename T>
T from_bits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

/// A shuffle: lane l takes the value of lane source(l), its own where there is none. A lane that
/// is read though it is not in the mask gives all ones, for a device gives anything.
template <typename T>
T shuffle(unsigned mask, T value, int argument, int width, Place place, SourceLane source) {
  require_full_width(width, place);
  return from_bits<T>(meet_warp(mask, to_bits(value), place, Meeting::kExchange,
                                [&](const WarpValues& values, int lane) {
                                  const int from = source(lane, argument);
                                  if (from < 0 || from >= kWarpSize) {
                                    return values.of[lane];
                                  }
                                  return values.has(from) ? values.of[from] : ~uint64_t{0};
                                }));
}

}  // namespace lorsa::emulation

// The caller's file and line, for messages.
#define LORSA_HERE ::lorsa::emulation::Place place = {__builtin_FILE(), __builtin_LINE()}

inline void __syncthreads(LORSA_HERE) {
  ::lorsa::emulation::meet_block(place);
}

inline void __syncwarp(unsigned mask = 0xffffffffu, LORSA_HERE) {
  using namespace lorsa::emulation;
  meet_warp(mask, 0, place, Meeting::kOrdersMemory,
            [](const WarpValues&, int) { return uint64_t{0}; });
}

template <typename T>
T __shfl_sync(unsigned mask, T value, int argument, int width = 32, LORSA_HERE) {
  return ::lorsa::emulation::shuffle(mask, value, argument, width, place,
                                     [](int, int from) { return from & 31; });
}

template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, LORSA_HERE) {
  return ::lorsa::emulation::shuffle(mask, value, static_cast<int>(delta), width, place,
                                     [](int lane, int by) { return lane + by; });
}

template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, LORSA_HERE) {
  return ::lorsa::emulation::shuffle(mask, value, static_cast<int>(delta), width, place,
                                     [](int lane, int by) { return lane - by; });
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int argument, int width = 32, LORSA_HERE) {
  return ::lorsa::emulation::shuffle(mask, value, argument, width, place,
                                     [](int lane, int bits) { return lane ^ bits; });
}

inline unsigned __ballot_sync(unsigned mask, bool predicate, LORSA_HERE) {
  using namespace lorsa::emulation;
  return static_cast<unsigned>(meet_warp(mask, predicate ? 1 : 0, place, Meeting::kExchange,
                                         [](const WarpValues& values, int) {
                                           uint64_t ballot = 0;
                                           for (int lane = 0; lane < kWarpSize; ++lane) {
                                             if (values.has(lane) && values.of[lane] != 0) {
                                               ballot |= uint64_t{1} << lane;
                                             }
                                           }
                                           return ballot;
                                         }));
}

inline bool __any_sync(unsigned mask, bool predicate, LORSA_HERE) {
  return __ballot_sync(mask, predicate, place) != 0;
}

inline bool __all_sync(unsigned mask, bool predicate, LORSA_HERE) {
  return __ballot_sync(mask, predicate, place) == mask;
}

#undef LORSA_HERE

inline int __popc(unsigned x) {
  return __builtin_popcount(x);
}

inline int __clz(int x) {
  return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x));
}

inline int __ffs(int x) {
  return __builtin_ffs(x);
}

inline unsigned __float_as_uint(float x) {
  return ::lorsa::emulation::from_bits<unsigned>(::lorsa::emulation::to_bits(x));
}

inline float __uint_as_float(unsigned x) {
  return ::lorsa::emulation::from_bits<float>(::lorsa::emulation::to_bits(x));
}

template <typename T>
T __ldg(const T* address) {
  return *address;
}

// One kernel thread runs at a time, so that an atomic is a plain read and write, told apart from
// those of the kernel, between which other threads may run.
#define LORSA_ATOMIC(NAME, RESULT)                                                           \
  template <typename T>                                                                      \
  __attribute__((no_sanitize("thread"))) T NAME(T* address, std::type_identity_t<T> value) { \
    ::lorsa::emulation::begin_atomic(address, sizeof(T));                                    \
    const T old = *address;                                                                  \
    *address = RESULT;                                                                       \
    return old;                                                                              \
  }

LORSA_ATOMIC(atomicAdd, old + value)
LORSA_ATOMIC(atomicSub, old - value)
LORSA_ATOMIC(atomicMin, value < old ? value : old)
LORSA_ATOMIC(atomicMax, old < value ? value : old)
LORSA_ATOMIC(atomicAnd, old& value)
LORSA_ATOMIC(atomicOr, old | value)
LORSA_ATOMIC(atomicExch, value)
#undef LORSA_ATOMIC
