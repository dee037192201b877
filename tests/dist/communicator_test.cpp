#include "lorsa/dist/communicator.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>

#include <limits>

#include "core/cuda_plugin.h"
#include "lorsa/core/error.h"
#include "support/throws.h"

namespace lorsa::dist {
namespace {

Options options_for(Backend backend, LaunchRank rank, c10::Device device = c10::kCPU) {
  return {backend, 5.0, rank, device};
}

std::string refused(const Options& options) {
  return test::message_of<ConfigError>([&] { static_cast<void>(make_communicator(options)); });
}

TEST_CASE("one rank has a communicator that changes nothing", "[dist]") {
  for (const Backend backend : {Backend::kAuto, Backend::kSingle, Backend::kMpi, Backend::kNccl}) {
    const auto ranks = make_communicator(options_for(backend, {}));
    CHECK(ranks->rank() == 0);
    CHECK(ranks->world_size() == 1);
    CHECK(ranks->description() == "single");
    const at::Tensor tensor = at::arange(6, at::kDouble).view({2, 3});
    const at::Tensor before = tensor.clone();
    Work work = ranks->begin_all_reduce_sum(tensor);
    CHECK(work.done());
    work.wait();
    work.wait();
    ranks->all_reduce_sum(tensor);
    ranks->all_reduce_max(tensor);
    ranks->broadcast(tensor, 0);
    ranks->barrier();
    CHECK(at::equal(tensor, before));
    const at::Tensor gathered = ranks->all_gather(tensor);
    CHECK(gathered.sizes() == at::IntArrayRef({1, 2, 3}));
    CHECK(at::equal(gathered[0], before));
    CHECK(gathered.data_ptr() != tensor.data_ptr());
    ranks->finish();
    ranks->finish();
  }
  // No other rank is there to end, so this returns.
  abort_job(9);
}

TEST_CASE("one rank refuses the tensors that several would refuse", "[dist]") {
  const auto ranks = make_communicator({});
  const auto message = [&](const at::Tensor& tensor) {
    return test::message_of<ShapeError>([&] { ranks->all_reduce_sum(tensor); });
  };
  test::require_parts(message({}), {"all_reduce_sum", "undefined"});
  test::require_parts(message(at::ones({2}, at::kHalf)), {"bfloat16", "found Half"});
  test::require_parts(message(at::ones({2, 3}).t()), {"contiguous", "[3, 2]", "[1, 3]"});
  const at::Tensor elsewhere = at::empty({2}, at::TensorOptions(c10::Device(c10::kMeta)));
  test::require_parts(message(elsewhere), {"on cpu", "meta"});
  test::require_parts(test::message_of<ShapeError>([&] { ranks->broadcast(at::ones({1}), 1); }),
                      {"broadcast", "root from 0 to 0", "found 1"});
  test::require_parts(
      test::message_of<ShapeError>([&] { static_cast<void>(ranks->all_gather({})); }),
      {"all_gather"});
}

TEST_CASE("options that do not go together are refused", "[dist]") {
  test::require_parts(refused(options_for(Backend::kAuto, {2, 2, 0})),
                      {"rank below the world size", "rank 2 of 2"});
  test::require_parts(refused(options_for(Backend::kAuto, {-1, 2, 0})), {"rank -1 of 2"});
  for (const double timeout_s : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    Options options;
    options.timeout_s = timeout_s;
    test::require_parts(refused(options), {"time-out above 0 s"});
  }
  const c10::Device cuda(c10::kCUDA, 0);
  test::require_parts(refused(options_for(Backend::kSingle, {1, 4, 1})),
                      {"'single'", "rank 1 of 4"});
  test::require_parts(refused(options_for(Backend::kMpi, {1, 4, 1}, cuda)),
                      {"'mpi'", "cuda:0", "use nccl"});
  test::require_parts(refused(options_for(Backend::kNccl, {1, 4, 1})), {"'nccl'", "cpu"});
}

TEST_CASE("a backend that is not there says what is missing", "[dist]") {
  const auto message = [](const Options& options) {
    return test::message_of<DeviceError>([&] { static_cast<void>(make_communicator(options)); });
  };
  if (LORSA_HAS_MPI == 0) {
    test::require_parts(message(options_for(Backend::kAuto, {1, 2, 1})),
                        {"rank 1 of 2", "without MPI", "LORSA_MPI=ON"});
  }
  if (!lorsa::has_cuda_driver()) {
    test::require_parts(message(options_for(Backend::kAuto, {0, 2, 0}, {c10::kCUDA, 0})),
                        {"'nccl'", "cuda:0", "driver"});
  }
  SUCCEED("both are there");
}

}  // namespace
}  // namespace lorsa::dist
