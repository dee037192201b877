#include "lorsa/dist/communicator.h"

#include <ATen/ops/empty.h>

#include <atomic>
#include <cmath>

#include "dist/backends.h"
#include "dist/collective.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"

namespace lorsa::dist {
namespace {

std::atomic<void (*)(int) noexcept> abort_backend{nullptr};

Backend chosen_backend(const Options& options) {
  if (options.backend != Backend::kAuto) {
    return options.backend;
  }
  return options.device.is_cuda() ? Backend::kNccl : Backend::kMpi;
}

void check_options(const Options& options, Backend backend) {
  const LaunchRank& rank = options.rank;
  LORSA_CHECK(rank.world_size >= 1 && rank.rank >= 0 && rank.rank < rank.world_size, ConfigError,
              "make_communicator: expected a rank below the world size, found rank {} of {}",
              rank.rank, rank.world_size);
  LORSA_CHECK(std::isfinite(options.timeout_s) && options.timeout_s > 0, ConfigError,
              "make_communicator: expected a time-out above 0 s, found {}", options.timeout_s);
  if (rank.world_size == 1) {
    return;
  }
  LORSA_CHECK(backend != Backend::kSingle, ConfigError,
              "make_communicator: the backend 'single' is for one rank, but this is rank {} of {}, "
              "and each would work alone; use auto, mpi or nccl",
              rank.rank, rank.world_size);
  LORSA_CHECK(backend != Backend::kMpi || options.device.is_cpu(), ConfigError,
              "backend 'mpi' carries CPU tensors, the device is {}; use nccl or the device cpu",
              options.device.str());
  LORSA_CHECK(backend != Backend::kNccl || options.device.is_cuda(), ConfigError,
              "backend 'nccl' carries CUDA tensors, the device is {}; use mpi or a CUDA device",
              options.device.str());
}

}  // namespace

void Work::wait() {
  if (operation_ != nullptr) {
    const std::unique_ptr<Operation> operation = std::move(operation_);
    operation->wait();
  }
}

bool Work::done() const {
  return operation_ == nullptr || operation_->done();
}

void Communicator::check_tensor(const at::Tensor& tensor, const char* call) const {
  LORSA_CHECK(tensor.defined(), ShapeError, "{}: the tensor is undefined", call);
  const at::ScalarType dtype = tensor.scalar_type();
  LORSA_CHECK(
      dtype == at::kFloat || dtype == at::kDouble || dtype == at::kLong || dtype == at::kBFloat16,
      ShapeError, "{}: expected float32, float64, int64 or bfloat16, found {}", call,
      c10::toString(dtype));
  LORSA_CHECK(tensor.is_contiguous(), ShapeError,
              "{}: expected a contiguous tensor, found sizes {} with strides {}", call,
              tensor.sizes(), tensor.strides());
  LORSA_CHECK(
      tensor.device().type() == device_.type() &&
          (!device_.has_index() || tensor.device().index() == device_.index() || device_.is_cpu()),
      ShapeError, "{}: expected a tensor on {}, found one on {}", call, device_.str(),
      tensor.device().str());
}

Work Communicator::begin_all_reduce_sum(const at::Tensor& tensor) {
  check_tensor(tensor, "all_reduce_sum");
  return tensor.numel() == 0 ? Work() : Work(begin({CollectiveKind::kSum, tensor, 0, {}}));
}

void Communicator::all_reduce_sum(const at::Tensor& tensor) {
  begin_all_reduce_sum(tensor).wait();
}

void Communicator::all_reduce_max(const at::Tensor& tensor) {
  check_tensor(tensor, "all_reduce_max");
  if (tensor.numel() > 0) {
    Work(begin({CollectiveKind::kMax, tensor, 0, {}})).wait();
  }
}

void Communicator::broadcast(const at::Tensor& tensor, int64_t root) {
  check_tensor(tensor, "broadcast");
  LORSA_CHECK(root >= 0 && root < world_size_, ShapeError,
              "broadcast: expected a root from 0 to {}, found {}", world_size_ - 1, root);
  if (tensor.numel() > 0) {
    Work(begin({CollectiveKind::kBroadcast, tensor, root, {}})).wait();
  }
}

at::Tensor Communicator::all_gather(const at::Tensor& tensor) {
  check_tensor(tensor, "all_gather");
  std::vector<int64_t> sizes = tensor.sizes().vec();
  sizes.insert(sizes.begin(), world_size_);
  at::Tensor gathered = at::empty(sizes, tensor.options());
  if (tensor.numel() > 0) {
    Work(begin({CollectiveKind::kAllGather, tensor, 0, gathered})).wait();
  }
  return gathered;
}

void Communicator::barrier() {
  Work(begin({CollectiveKind::kBarrier, {}, 0, {}})).wait();
}

std::unique_ptr<Communicator> make_communicator(const Options& options) {
  const Backend backend = chosen_backend(options);
  check_options(options, backend);
  if (options.rank.world_size == 1) {
    return make_single(options);
  }
  // Before the ranks meet: one that fails while they do must be able to end the others.
  abort_backend = backend == Backend::kNccl ? abort_nccl : abort_mpi;
  std::unique_ptr<Communicator> communicator =
      backend == Backend::kNccl ? make_nccl(options) : make_mpi(options);
  if (communicator->rank() == 0) {
    log_info("communicator: {}", communicator->description());
  }
  return communicator;
}

void abort_job(int exit_code) noexcept {
  if (const auto abort = abort_backend.load()) {
    abort(exit_code);
  }
}

}  // namespace lorsa::dist
