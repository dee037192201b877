// Copies into shared memory that a thread starts and later waits for. They are made when it waits,
// as late as a device may make them; until then what they go to counts as written by nobody.
#include <algorithm>
#include <cstring>
#include <string>

#include "emulation/block.h"
#include "emulation/buffers.h"
#include "emulation/memory.h"

namespace lorsa::emulation {
namespace {

void look_at(const void* address, size_t bytes, size_t alignment, Access access) {
  if (accesses_are_checked()) {
    check_access(address, bytes, alignment, access);
  }
}

void finish(const AsyncCopy& copy) {
  const size_t copied = copy.bytes - copy.zeros;
  if (copied > 0) {
    look_at(copy.from, copied, copy.bytes, Access::kRead);
    std::memcpy(copy.to, copy.from, copied);
  }
  std::memset(static_cast<char*>(copy.to) + copied, 0, copy.zeros);
  look_at(copy.to, copy.bytes, copy.bytes, Access::kWrite);
}

}  // namespace

void copy_async(void* to, const void* from, size_t bytes, size_t zeros) {
  if ((bytes != 4 && bytes != 8 && bytes != 16) || zeros > bytes) {
    fail_thread("copies " + std::to_string(bytes) + " bytes, " + std::to_string(zeros) +
                " of them zeros: no device does");
  }
  if (!in_shared_memory(reinterpret_cast<uintptr_t>(to))) {
    fail_thread("starts a copy to what is not shared");
  }
  look_at(to, bytes, bytes, Access::kWrite);
  if (accesses_are_checked()) {
    forget_written(to, bytes);
  }
  std::memset(to, 0xff, bytes);
  running().copies.push_back({to, from, bytes, zeros, running().num_copy_groups});
}

void commit_copies() {
  ++running().num_copy_groups;
}

void wait_for_copies(unsigned groups) {
  Thread& thread = running();
  const unsigned done = thread.num_copy_groups - std::min(groups, thread.num_copy_groups);
  const auto first_left = std::find_if(thread.copies.begin(), thread.copies.end(),
                                       [&](const AsyncCopy& copy) { return copy.group >= done; });
  std::for_each(thread.copies.begin(), first_left, finish);
  thread.copies.erase(thread.copies.begin(), first_left);
}

}  // namespace lorsa::emulation
