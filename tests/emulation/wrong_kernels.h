#pragma once

// Launches of small kernels: right ones, and ones that are wrong on purpose (wrong_kernels.cu).

namespace lorsa::emulation {

/// Buffers of kCells numbers that the kernels read and write.
constexpr int kCells = 64;

using ExampleKernel = void (*)(const float* in, float* out);

struct Example {
  const char* mistake;  ///< or what is right about it
  ExampleKernel launch;
};

/// What each of them computes is the same in every order.
extern const Example kRight[9];

struct WrongExample {
  const char* mistake;
  ExampleKernel launch;
  const char* kernel;   ///< as a fault must name it
  const char* message;  ///< what the fault must say
};

/// Found by barriers and shuffles, in every build.
extern const WrongExample kWrongMeetings[10];

/// Found by looking at accesses.
extern const WrongExample kWrongAccesses[17];

/// Without a fault: results that depend on the order of threads.
extern const Example kOrderDependent[3];

}  // namespace lorsa::emulation
