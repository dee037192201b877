#include "lorsa/core/recycled_memory.h"

#include <ATen/ATen.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <thread>

#include "support/test.h"

using namespace lorsa;

TEST_CASE("large tensors get the memory of those that went, from any thread", "[core]") {
  recycle_large_tensors();
  recycle_large_tensors();
  constexpr int64_t kFloats = int64_t{1} << 20;  // 4 MiB
  at::Tensor first = at::ones({kFloats});
  const void* const block = first.data_ptr();
  const at::Tensor beside = at::full({kFloats}, 2.0);
  REQUIRE(beside.data_ptr() != block);
  std::thread([&] { first = at::Tensor(); }).join();
  // As large to the mebibyte.
  const at::Tensor again = at::full({kFloats - 7}, 3.0);
  REQUIRE(again.data_ptr() == block);
  REQUIRE(at::empty({2 * kFloats}).data_ptr() != block);
  REQUIRE(beside.eq(2.0).all().item<bool>());
  REQUIRE(again.eq(3.0).all().item<bool>());
  REQUIRE(again.clone().sum().item<float>() == 3.0F * static_cast<float>(kFloats - 7));
}

TEST_CASE("memory taken raw is freed by one function, small and large", "[core]") {
  recycle_large_tensors();
  c10::Allocator* const allocator = c10::GetCPUAllocator();
  for (const size_t bytes : {size_t{64}, size_t{3} << 20}) {
    void* const memory = allocator->raw_allocate(bytes);
    REQUIRE(memory != nullptr);
    allocator->raw_deallocate(memory);
  }
  void* const large = allocator->raw_allocate(size_t{3} << 20);
  allocator->raw_deallocate(large);
  REQUIRE(at::empty({3 << 18}).data_ptr() == large);
}

TEST_CASE("small tensors and copies are as before", "[core]") {
  recycle_large_tensors();
  const at::Tensor small = at::arange(100);
  REQUIRE(small.sum().item<int64_t>() == 4950);
  at::Tensor grown = at::ones({10});
  grown.resize_({int64_t{1} << 20});
  REQUIRE(grown.narrow(0, 0, 10).sum().item<float>() == 10.0F);
}
