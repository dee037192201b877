#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "torch_private/one_thread_blas.h"

namespace lorsa::kernels {

/// Hands out the tasks 0 .. num_tasks - 1 to LibTorch's threads one at a time, so that a thread
/// with cheap tasks, or on a faster core, takes more of them. make_worker() is called once on every
/// thread and returns a callable of the task's number, which owns that thread's buffers.
template <typename MakeWorker>
void for_each_task(int64_t num_tasks, const MakeWorker& make_worker) {
  std::atomic<int64_t> next{0};
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), num_tasks);
  at::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    const torch_private::OneThreadBlas one_thread;
    auto worker = make_worker();
    for (int64_t task = next.fetch_add(1); task < num_tasks; task = next.fetch_add(1)) {
      worker(task);
    }
  });
}

}  // namespace lorsa::kernels
