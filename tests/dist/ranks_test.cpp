#include "dist/ranks.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/remainder.h>
#include <ATen/ops/zeros.h>

#include <chrono>
#include <thread>
#include <vector>

#include "lorsa/core/error.h"
#include "support/throws.h"

namespace lorsa::dist {
namespace {

// Around the chunks of 2^18 elements that the MPI backend sends.
constexpr int64_t kChunk = int64_t{1} << 18;

/// Small whole numbers, so that sums are exact in every dtype, different in place and rank.
at::Tensor numbers(int64_t size, at::ScalarType dtype, int64_t rank) {
  return at::remainder(at::arange(size, at::kLong), 1009).mul(rank + 1).sub(7 * rank).to(dtype);
}

at::Tensor sum_of_numbers(int64_t size, at::ScalarType dtype) {
  at::Tensor sum = at::zeros({size}, at::kLong);
  for (int64_t rank = 0; rank < ranks().world_size(); ++rank) {
    sum += numbers(size, at::kLong, rank);
  }
  return sum.to(dtype);
}

/// Whether every rank holds what rank 0 holds, bit by bit.
bool same_on_all_ranks(const at::Tensor& tensor) {
  const at::Tensor of_first = tensor.clone();
  ranks().broadcast(of_first, 0);
  const at::Tensor differs = at::full({1}, at::equal(of_first, tensor) ? 0 : 1, at::kLong);
  ranks().all_reduce_max(differs);
  return differs.item<int64_t>() == 0;
}

int64_t now_ns() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

TEST_CASE("sums of all dtypes and odd sizes are exact", "[ranks]") {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kLong}) {
    for (const int64_t size :
         {int64_t{0}, int64_t{1}, int64_t{7}, int64_t{1023}, kChunk, 11 * kChunk + 5}) {
      const at::Tensor tensor = numbers(size, dtype, ranks().rank());
      ranks().all_reduce_sum(tensor);
      INFO(c10::toString(dtype) << " " << size);
      REQUIRE(at::equal(tensor, sum_of_numbers(size, dtype)));
    }
  }
}

TEST_CASE("several tensors are under way at once and may be awaited in any order", "[ranks]") {
  const std::vector<int64_t> sizes = {5, 2 * kChunk + 1, 1, 70001, kChunk - 1, 33};
  std::vector<at::Tensor> tensors;
  std::vector<Work> works;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const at::ScalarType dtype = i % 2 == 0 ? at::kFloat : at::kDouble;
    tensors.push_back(numbers(sizes[i], dtype, ranks().rank()));
    works.push_back(ranks().begin_all_reduce_sum(tensors[i]));
  }
  for (size_t i = sizes.size(); i-- > 0;) {
    works[i].wait();
    REQUIRE(works[i].done());
    REQUIRE(at::equal(tensors[i], sum_of_numbers(sizes[i], tensors[i].scalar_type())));
  }
}

TEST_CASE("rounded sums are the same on all ranks and in every run", "[ranks]") {
  at::manual_seed(17 + static_cast<uint64_t>(ranks().rank()));
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    for (const int64_t size : {int64_t{3}, int64_t{4099}, 2 * kChunk + 3}) {
      const at::Tensor once = at::randn({size}, dtype);
      const at::Tensor again = once.clone();
      ranks().all_reduce_sum(once);
      ranks().all_reduce_sum(again);
      REQUIRE(at::equal(once, again));
      REQUIRE(same_on_all_ranks(once));
    }
  }
}

TEST_CASE("the maximum is taken element by element", "[ranks]") {
  const int64_t last = ranks().world_size() - 1;
  const at::Tensor tensor = at::full({3}, -5.0, at::kDouble);
  tensor[0] = static_cast<double>(ranks().rank());
  tensor[1] = -1.0 - static_cast<double>(ranks().rank());
  ranks().all_reduce_max(tensor);
  CHECK(tensor[0].item<double>() == static_cast<double>(last));
  CHECK(tensor[1].item<double>() == -1.0);
  CHECK(tensor[2].item<double>() == -5.0);
  const at::Tensor flag = at::full({1}, ranks().rank() == last ? 1 : 0, at::kLong);
  ranks().all_reduce_max(flag);
  CHECK(flag.item<int64_t>() == 1);
}

TEST_CASE("a broadcast brings the tensor of any root", "[ranks]") {
  for (int64_t root = 0; root < ranks().world_size(); ++root) {
    const at::Tensor tensor = numbers(kChunk + 3, at::kFloat, ranks().rank());
    ranks().broadcast(tensor, root);
    CHECK(at::equal(tensor, numbers(kChunk + 3, at::kFloat, root)));
    const at::Tensor narrow = at::full({9}, ranks().rank(), at::kBFloat16);
    ranks().broadcast(narrow, root);
    CHECK(at::equal(narrow, at::full({9}, root, at::kBFloat16)));
  }
}

TEST_CASE("all_gather stacks the tensors by rank", "[ranks]") {
  for (const at::ScalarType dtype : {at::kLong, at::kBFloat16}) {
    const at::Tensor gathered = ranks().all_gather(at::full({2, 3}, ranks().rank(), dtype));
    REQUIRE(gathered.size(0) == ranks().world_size());
    for (int64_t rank = 0; rank < ranks().world_size(); ++rank) {
      CHECK(at::equal(gathered[rank], at::full({2, 3}, rank, dtype)));
    }
  }
}

TEST_CASE("no rank leaves a barrier before all have come", "[ranks]") {
  std::this_thread::sleep_for(std::chrono::milliseconds(60 * ranks().rank()));
  const int64_t came = now_ns();
  ranks().barrier();
  const int64_t left = now_ns();
  const at::Tensor all_came = ranks().all_gather(at::full({1}, came, at::kLong));
  const at::Tensor all_left = ranks().all_gather(at::full({1}, left, at::kLong));
  CHECK(all_left.min().item<int64_t>() >= all_came.max().item<int64_t>());
}

TEST_CASE("a sum is completed while the caller computes", "[ranks]") {
  const at::Tensor tensor = numbers(16 * kChunk, at::kFloat, ranks().rank());
  Work work = ranks().begin_all_reduce_sum(tensor);
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(50);
  double sum = 0;
  int64_t term = 0;
  while (!work.done() && std::chrono::steady_clock::now() < limit) {
    for (int i = 0; i < 100000; ++i) {
      sum += 1.0 / static_cast<double>(++term);
    }
  }
  REQUIRE(work.done());
  work.wait();
  CHECK(sum > 0);
  CHECK(at::equal(tensor, sum_of_numbers(16 * kChunk, at::kFloat)));
}

TEST_CASE("dropped work goes on and disturbs nothing", "[ranks]") {
  for (int i = 0; i < 5; ++i) {
    static_cast<void>(ranks().begin_all_reduce_sum(at::ones({kChunk + 1})));
  }
  const at::Tensor tensor = at::ones({2});
  ranks().all_reduce_sum(tensor);
  CHECK(tensor[0].item<double>() == static_cast<double>(ranks().world_size()));
}

TEST_CASE("refused tensors leave the communicator usable", "[ranks]") {
  const auto message = [](const at::Tensor& tensor) {
    return test::message_of<ShapeError>([&] { ranks().all_reduce_sum(tensor); });
  };
  test::require_parts(message(at::ones({4}, at::kBFloat16)),
                      {"all_reduce_sum of BFloat16[4]", "float32"});
  test::require_parts(message(at::ones({4, 2}).t()), {"contiguous"});
  const at::Tensor tensor = at::ones({1}, at::kLong);
  ranks().all_reduce_sum(tensor);
  CHECK(tensor.item<int64_t>() == ranks().world_size());
}

TEST_CASE("communicators follow each other in one process", "[ranks]") {
  for (int i = 0; i < 3; ++i) {
    const auto other = make_communicator(rank_options());
    CHECK(other->rank() == ranks().rank());
    test::require_parts(other->description(),
                        {"mpi (", std::to_string(ranks().world_size()) + " ranks"});
    const at::Tensor tensor = at::ones({3});
    Work work = other->begin_all_reduce_sum(tensor);
    // finish() waits for it.
    other->finish();
    CHECK(work.done());
    work.wait();
    CHECK(tensor[2].item<double>() == static_cast<double>(ranks().world_size()));
    test::require_parts(test::message_of<Error>([&] { other->barrier(); }), {"has finished"});
  }
}

}  // namespace
}  // namespace lorsa::dist
