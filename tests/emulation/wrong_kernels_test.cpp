#include "emulation/wrong_kernels.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "emulation/kernel_name.h"
#include "emulation/memory.h"
#include "emulation/orders.h"

// What the emulation finds, and that it finds nothing in kernels that are right.

using namespace lorsa::emulation;

namespace {

constexpr int kOrders = 20;

struct Buffer {
  std::unique_ptr<float, decltype(&free_buffer)> data{
      static_cast<float*>(allocate_buffer(kCells * sizeof(float))), &free_buffer};
};

using Numbers = std::vector<float>;

/// What the kernel leaves in `out` for 0, 1, 2 ... in `in`.
Numbers run(ExampleKernel launch) {
  const Buffer in;
  const Buffer out;
  for (int i = 0; i < kCells; ++i) {
    in.data.get()[i] = static_cast<float>(i);
  }
  launch(in.data.get(), out.data.get());
  return {out.data.get(), out.data.get() + kCells};
}

/// Bit for bit: what is not written stays NaN.
bool same_numbers(const Numbers& a, const Numbers& b) {
  return std::memcmp(a.data(), b.data(), sizeof(float) * kCells) == 0;
}

std::string fault_of(ExampleKernel launch) {
  try {
    run(launch);
  } catch (const Fault& fault) {
    return fault.what();
  }
  return "no fault";
}

void check_found(const WrongExample& example) {
  for (uint64_t order = 1; order <= kOrders; ++order) {
    draw_orders(order);
    const std::string fault = fault_of(example.launch);
    INFO(example.mistake << ", order " << order);
    CHECK_THAT(fault, Catch::Contains(example.message));
    CHECK_THAT(fault, Catch::StartsWith(std::string(example.kernel) + ", launch "));
    CHECK_THAT(fault, Catch::Contains("at tests/emulation/wrong_kernels.cu:"));
    CHECK_THAT(fault, Catch::Contains("block (") && Catch::Contains("thread ("));
  }
}

}  // namespace

TEST_CASE("the emulation finds nothing in kernels that are right", "[emulation]") {
  for (const Example& example : kRight) {
    INFO(example.mistake);
    CHECK_NOTHROW(in_orders(
        kOrders, [&] { return run(example.launch); }, same_numbers));
  }
}

TEST_CASE("right kernels compute what they say", "[emulation]") {
  draw_orders(1);
  const Numbers reversed = run(kRight[0].launch);
  CHECK((reversed[0] == 63.0f && reversed[63] == 0.0f));
  const Numbers sums = run(kRight[1].launch);
  CHECK((sums[0] == 496.0f + 16.0f && sums[1] == 1520.0f + 16.0f));
  CHECK(run(kRight[2].launch)[15] == 120.0f);
  CHECK(run(kRight[3].launch)[6] == 7.0f);
  CHECK(run(kRight[4].launch)[14] == 96.0f);
  CHECK(run(kRight[5].launch) == reversed);
  CHECK(run(kRight[6].launch)[0] == 31.0f + 63.0f);
  const Numbers copied = run(kRight[7].launch);
  CHECK((copied[0] == 31.0f && copied[32] == 0.0f && copied[63] == 32.0f));
  // The sum over k of element (k, 1) times element (k, 2), and that of columns 7.
  const Numbers product = run(kRight[8].launch);
  CHECK((product[10] == 9648.0f && product[63] == 12488.0f));
}

TEST_CASE("the emulation finds threads that do not meet", "[emulation]") {
  for (const WrongExample& example : kWrongMeetings) {
    check_found(example);
  }
}

TEST_CASE("the emulation finds races, stale shared memory and accesses outside", "[emulation]") {
  if (!accesses_are_checked()) {
    SUCCEED("in this build a sanitizer looks at accesses, and would end the program");
    return;
  }
  for (const WrongExample& example : kWrongAccesses) {
    check_found(example);
  }
}

TEST_CASE("results that depend on the order of threads are found", "[emulation]") {
  for (const Example& example : kOrderDependent) {
    INFO(example.mistake);
    CHECK_THROWS_WITH(in_orders(
                          kOrders, [&] { return run(example.launch); }, same_numbers),
                      Catch::Contains("depends on the order of threads"));
  }
}

TEST_CASE("a fault leaves the emulation as it was", "[emulation]") {
  draw_orders(1);
  const Numbers before = run(kRight[0].launch);
  CHECK(fault_of(kWrongMeetings[0].launch) != "no fault");
  CHECK(run(kRight[0].launch) == before);
}

TEST_CASE("kernels are named with their template arguments", "[emulation]") {
  CHECK(kernel_name(
            "void lorsa::kernels::cuda::{anonymous}::rope_kernel(T*, const Sum<T>*) [with T "
            "= float; int V = 4; int64_t = long int]") == "rope_kernel<T = float, int V = 4>");
  CHECK(kernel_name("void lorsa::(anonymous namespace)::rope_kernel(T *) [T = float, V = 4]") ==
        "rope_kernel<T = float, V = 4>");
  CHECK(kernel_name("void lorsa::{anonymous}::plain(int)") == "plain");
  CHECK(kernel_name("void a::adam(T*) [with a::Kind kKind = a::Kind::kDense; T = float; a::Sum<T> "
                    "= float]") == "adam<Kind kKind = kDense, T = float>");
}
