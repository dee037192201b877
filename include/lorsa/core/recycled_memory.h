#pragma once

#include "lorsa/core/api.h"

namespace lorsa {

/// From now on host tensors of 1 MiB and more take memory of their own, which the next tensor of
/// about that size gets when they are gone, in whatever thread.
///
/// For pipelines whose tensors are freed by other threads than made them: malloc's heap is pinned
/// by what small and lasting things lie between, and grows; pages given back to the kernel must be
/// cleared and mapped again. Memory is never given back: the process keeps what its tensors took
/// at the most, by sizes rounded to 1 MiB. Holds for the whole process and cannot be undone.
LORSA_API void recycle_large_tensors();

}  // namespace lorsa
