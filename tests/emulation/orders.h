#pragma once

#include "emulation/grid.h"

namespace lorsa::emulation {

/// In how many orders of their threads tests run kernels: LORSA_EMULATION_ORDERS, by default 2.
[[nodiscard]] int num_orders();

/// Runs `run` in `count` orders of blocks and threads and returns what it gives. Throws Fault where
/// same(one result, another) is false: the order of threads shows.
template <typename Run, typename Same>
auto in_orders(int count, const Run& run, const Same& same) {
  draw_orders(1);
  auto first = run();
  for (int order = 2; order <= count; ++order) {
    draw_orders(static_cast<uint64_t>(order));
    if (!same(first, run())) {
      throw Fault("the result depends on the order of threads: order " + std::to_string(order) +
                  " gives another than order 1");
    }
  }
  return first;
}

}  // namespace lorsa::emulation
