#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>

#include <cstdlib>
#include <memory>
#include <vector>

#include "core/cuda_plugin.h"
#include "dist/nccl_backend.h"
#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/dist/communicator.h"
#include "support/throws.h"

// NCCL itself on one device, by hand or under torchrun with one process. make_communicator() gives
// one rank the communicator that carries nothing, so the backend is asked directly.

namespace lorsa::dist {
namespace {

std::unique_ptr<Communicator> nccl_rank() {
  Options options;
  options.backend = Backend::kNccl;
  options.timeout_s = 30;
  options.rank = launch_rank();
  options.device = resolve_device("cuda", options.rank.local_rank);
  const auto read = [](const char* name) -> const char* { return std::getenv(name); };
  // Port 0 is any free one: of a job of one rank nobody else has to know it.
  const Rendezvous rendezvous = read("MASTER_ADDR") != nullptr
                                    ? find_rendezvous(read, options.rank.world_size)
                                    : Rendezvous{"127.0.0.1", 0, false, "test_gpu"};
  const auto& backend = *static_cast<const NcclBackend*>(cuda_symbol("lorsa_nccl"));
  return backend.make(options, rendezvous);
}

at::Tensor numbers(int64_t size, at::ScalarType dtype, c10::Device device) {
  return at::arange(size, at::TensorOptions(at::kLong).device(device)).remainder(251).to(dtype);
}

TEST_CASE("NCCL carries every dtype and operation of one rank", "[gpu][nccl]") {
  const auto rank = nccl_rank();
  REQUIRE(rank->world_size() == 1);
  test::require_parts(rank->description(), {"nccl 2.", ", 1 ranks"});
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kLong, at::kBFloat16}) {
    for (const int64_t size : {int64_t{1}, int64_t{1023}, int64_t{3} << 20}) {
      INFO(c10::toString(dtype) << " " << size);
      const at::Tensor expected = numbers(size, dtype, rank->device());
      const at::Tensor tensor = expected.clone();
      rank->all_reduce_sum(tensor);
      rank->all_reduce_max(tensor);
      rank->broadcast(tensor, 0);
      REQUIRE(at::equal(tensor, expected));
      const at::Tensor gathered = rank->all_gather(tensor);
      REQUIRE(gathered.sizes() == at::IntArrayRef({1, size}));
      REQUIRE(at::equal(gathered[0], expected));
    }
  }
  rank->barrier();
  rank->finish();
  test::require_parts(test::message_of<Error>([&] { rank->barrier(); }), {"has finished"});
}

TEST_CASE("NCCL's sums wait for the tensors' kernels and the reader for the sums", "[gpu][nccl]") {
  const auto rank = nccl_rank();
  const at::TensorOptions options = at::TensorOptions(at::kFloat).device(rank->device());
  std::vector<at::Tensor> tensors;
  std::vector<Work> works;
  for (int i = 0; i < 8; ++i) {
    // The fill is still on its way when the sum begins.
    tensors.push_back(at::full({int64_t{4} << 20}, i, options));
    works.push_back(rank->begin_all_reduce_sum(tensors.back()));
  }
  for (size_t i = works.size(); i-- > 0;) {
    works[i].wait();
    REQUIRE(works[i].done());
    REQUIRE(tensors[i].eq(static_cast<double>(i)).all().item<bool>());
  }
}

TEST_CASE("NCCL communicators follow each other and refuse tensors of the host", "[gpu][nccl]") {
  for (int i = 0; i < 2; ++i) {
    const auto rank = nccl_rank();
    test::require_parts(test::message_of<ShapeError>([&] { rank->all_reduce_sum(at::ones({2})); }),
                        {"all_reduce_sum", "on cuda:0", "cpu"});
    const at::Tensor tensor = at::ones({2}, at::TensorOptions(at::kFloat).device(rank->device()));
    rank->all_reduce_sum(tensor);
    CHECK(tensor.sum().item<double>() == 2.0);
    rank->finish();
  }
}

}  // namespace
}  // namespace lorsa::dist
