#pragma once

#include "cuda_runtime.h"

inline void __pipeline_memcpy_async(void* to, const void* from, size_t bytes, size_t zeros = 0) {
  ::lorsa::emulation::copy_async(to, from, bytes, zeros);
}

inline void __pipeline_commit() {
  ::lorsa::emulation::commit_copies();
}

inline void __pipeline_wait_prior(unsigned groups) {
  ::lorsa::emulation::wait_for_copies(groups);
}
