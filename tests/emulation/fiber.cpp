#include "emulation/fiber.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "emulation/sanitizers.h"

#if !defined(__x86_64__)
#error "fibers are written for x86-64"
#endif

extern "C" {
/// Saves the callee's registers on this stack and its pointer at *from; goes on on the other.
void lorsa_switch_stack(void** from, void* to);
}

asm(R"(
.text
.globl lorsa_switch_stack
.hidden lorsa_switch_stack
.type lorsa_switch_stack, @function
lorsa_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size lorsa_switch_stack, .-lorsa_switch_stack
)");

namespace lorsa::emulation {
namespace {

constexpr size_t kPage = 4096;

// Where the program itself left.
void* host_top = nullptr;
void* host_fake_stack = nullptr;
const void* host_bottom = nullptr;
size_t host_size = 0;

void (*first_call)() = nullptr;

void begin() {
  finish_switch_fiber(nullptr, &host_bottom, &host_size);
  first_call();
  std::abort();
}

}  // namespace

uintptr_t Fiber::stacks_ = 0;

/// Each with a page below that faults.
char* Fiber::stack(unsigned number) {
  if (stacks_ == 0) {
    void* mapped = ::mmap(nullptr, kStackBytes * kMost, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) {
      throw std::bad_alloc();
    }
    stacks_ = reinterpret_cast<uintptr_t>(mapped);
    for (unsigned i = 0; i < kMost; ++i) {
      ::mprotect(static_cast<char*>(mapped) + i * kStackBytes, kPage, PROT_NONE);
    }
  }
  return reinterpret_cast<char*>(stacks_) + number * kStackBytes;
}

void Fiber::start(unsigned number, void (*function)()) {
  first_call = function;
  bottom_ = stack(number);
  unpoison(bottom_ + kPage, kStackBytes - kPage);
  // As lorsa_switch_stack leaves a stack: six registers, then where to go on.
  auto** top = reinterpret_cast<void**>(bottom_ + kStackBytes - 64);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&begin);
  top -= 6;
  std::fill(top, top + 6, nullptr);
  top_ = top;
  fake_stack_ = nullptr;
}

void Fiber::enter() {
  start_switch_fiber(&host_fake_stack, bottom_, kStackBytes);
  lorsa_switch_stack(&host_top, top_);
  finish_switch_fiber(host_fake_stack, nullptr, nullptr);
}

void Fiber::to_host(void** fake_stack) {
  start_switch_fiber(fake_stack, host_bottom, host_size);
  lorsa_switch_stack(&top_, host_top);
}

void Fiber::leave() {
  to_host(&fake_stack_);
  finish_switch_fiber(fake_stack_, &host_bottom, &host_size);
}

void Fiber::leave_for_good() {
  to_host(nullptr);
  std::abort();
}

}  // namespace lorsa::emulation
