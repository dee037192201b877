// Part of liblorsa_cuda.so. The only file that includes ProcessGroupNCCL: it takes 10 s, and c10d's
// classes change between releases.
#include <c10/cuda/CUDAGuard.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "dist/collective.h"
#include "dist/job_store.h"
#include "dist/lost_ranks.h"
#include "dist/nccl_backend.h"
#include "lorsa/core/api.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"

namespace lorsa::dist {
namespace {

using Clock = std::chrono::steady_clock;

// Short beside a step and long beside the query of an event.
constexpr std::chrono::microseconds kPoll(50);
// How soon a rank hears that another has failed; each look costs a round trip to the store.
constexpr std::chrono::seconds kFailurePoll(1);

std::atomic<int> num_open{0};

/// The ranks' process group, their board, and whether both can still be used.
class NcclGroup {
 public:
  NcclGroup(const Options& options, const Rendezvous& rendezvous)
      : options_(options), store_(rendezvous, options.rank, next_group(), options.timeout_s) {
    store_.join();
    try {
      connect();
    } catch (const std::exception& error) {
      throw DeviceError(formatted("rank {}: NCCL on {}: {}", options.rank.rank,
                                  options.device.str(), first_line(error)));
    }
  }

  c10::intrusive_ptr<c10d::Work> begin(const Collective& collective, int64_t* number) {
    throw_if_failed();
    const c10::cuda::CUDAGuard guard(options_.device);
    *number = ++num_begun_;
    const auto post_and_launch = [&] {
      store_.post(num_begun_);
      return launch(collective);
    };
    return converted(post_and_launch, to_string(collective));
  }

  /// Blocks the host, not only the stream: a rank that does not come would otherwise surface in
  /// whatever call waits for the device next. It costs one launch latency per step, because a step
  /// reads the gradients' norm before it changes weights anyway.
  void wait(c10d::Work& work, const Collective& collective, int64_t number) {
    throw_if_failed();
    const auto start = Clock::now();
    auto next_look = start + kFailurePoll;
    while (!work.isCompleted()) {
      std::this_thread::sleep_for(kPoll);
      const auto now = Clock::now();
      if (now - start > std::chrono::duration<double>(options_.timeout_s)) {
        fail(lost_ranks(collective, number));
      }
      if (now > next_look) {
        look_for_failure(collective);
        next_look = now + kFailurePoll;
      }
    }
    const c10::cuda::CUDAGuard guard(options_.device);
    converted([&] { return work.wait(); }, to_string(collective));
  }

  /// All ranks have met in a barrier before.
  void finish() {
    converted([&] { return group_->shutdown(), true; }, "shutdown");
    store_.leave();
  }

  /// Ends NCCL's kernels on this device, which would spin for ever, and tells the others.
  void abandon() noexcept {
    try {
      fail_quietly("it left through an exception");
    } catch (const std::exception& error) {
      log_error("leaving the other ranks: {}", first_line(error));
    }
  }

  [[nodiscard]] bool failed() const { return !failure_.empty(); }

 private:
  static int64_t next_group() {
    static int64_t num_groups = 0;
    return num_groups++;
  }

  void connect() {
    // 2, CleanUpOnly: on an error c10d's watchdog ends the kernels, so that wait() throws here. Its
    // default ends the process.
    ::setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "2", /*replace=*/0);
    // A stream before others: a sum's few blocks then need not wait for a product's to end.
    const auto pg_options =
        c10d::ProcessGroupNCCL::Options::create(/*is_high_priority_stream=*/true);
    // Behind the limit of wait(): for operations that nobody waits for.
    pg_options->timeout =
        std::chrono::milliseconds(static_cast<int64_t>(options_.timeout_s * 2000.0) + 60000);
    group_ = c10::make_intrusive<c10d::ProcessGroupNCCL>(
        store_.for_process_group(), static_cast<int>(options_.rank.rank),
        static_cast<int>(options_.rank.world_size), pg_options);
    // Now, while all are known to be there, instead of in the first collective.
    group_->eagerConnectSingleDevice(options_.device);
  }

  c10::intrusive_ptr<c10d::Work> launch(const Collective& collective) {
    std::vector<at::Tensor> tensors = {collective.tensor};
    switch (collective.kind) {
      case CollectiveKind::kBarrier:
        tensors = {at::zeros({1}, at::TensorOptions(options_.device).dtype(at::kLong))};
        return group_->allreduce(tensors);
      case CollectiveKind::kSum:
        return group_->allreduce(tensors);
      case CollectiveKind::kMax: {
        c10d::AllreduceOptions max;
        max.reduceOp = c10d::ReduceOp::MAX;
        return group_->allreduce(tensors, max);
      }
      case CollectiveKind::kBroadcast: {
        c10d::BroadcastOptions from;
        from.rootRank = collective.root;
        return group_->broadcast(tensors, from);
      }
      case CollectiveKind::kAllGather: {
        at::Tensor gathered = collective.gathered;
        return group_->_allgather_base(gathered, tensors.front());
      }
    }
    return {};
  }

  std::string lost_ranks(const Collective& collective, int64_t number) {
    const std::string what = to_string(collective);
    const std::vector<int64_t> begun = converted([&] { return store_.begun(); }, what);
    return lost_ranks_message({what, number, options_.rank.rank, options_.timeout_s, begun});
  }

  void look_for_failure(const Collective& collective) {
    const auto look = [&] { return store_.failure(); };
    if (const std::optional<std::string> other = converted(look, to_string(collective))) {
      fail(formatted("rank {} waits in vain for {}: {}", options_.rank.rank, to_string(collective),
                     *other));
    }
  }

  /// c10d's errors as ours.
  template <typename Call>
  auto converted(const Call& call, const std::string& what) -> decltype(call()) {
    try {
      return call();
    } catch (const std::exception& error) {
      fail(formatted("rank {}: {}: {}", options_.rank.rank, what, first_line(error)));
    }
  }

  [[noreturn]] void fail(const std::string& why) {
    fail_quietly(why);
    throw DeviceError(failure_);
  }

  void fail_quietly(const std::string& why) {
    if (failed()) {
      return;
    }
    failure_ = why;
    try {
      store_.post_failure(why);
    } catch (const std::exception& error) {
      log_warning("{}", error.what());
    }
    if (group_) {
      group_->abort();
    }
  }

  void throw_if_failed() const { LORSA_CHECK(!failed(), DeviceError, "{}", failure_); }

  Options options_;
  JobStore store_;
  c10::intrusive_ptr<c10d::ProcessGroupNCCL> group_;
  int64_t num_begun_ = 0;
  std::string failure_;
};

class NcclWork final : public Work::Operation {
 public:
  NcclWork(std::shared_ptr<NcclGroup> group, const Collective& collective)
      : group_(std::move(group)), collective_(collective) {
    work_ = group_->begin(collective_, &number_);
  }

  bool done() override { return work_->isCompleted(); }

  void wait() override { group_->wait(*work_, collective_, number_); }

 private:
  std::shared_ptr<NcclGroup> group_;
  Collective collective_;
  int64_t number_ = 0;
  c10::intrusive_ptr<c10d::Work> work_;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(const Options& options, const Rendezvous& rendezvous)
      : Communicator(options.rank, options.device) {
    ++num_open;
    group_ = std::make_shared<NcclGroup>(options, rendezvous);
  }

  ~NcclCommunicator() override {
    if (!finished_ && std::uncaught_exceptions() == exceptions_before_ && !group_->failed()) {
      try {
        finish();
      } catch (const std::exception& error) {
        log_error("leaving the other ranks: {}", error.what());
      }
    }
    if (!finished_) {
      group_->abandon();
    }
  }

  void finish() override {
    if (finished_) {
      return;
    }
    // NCCL works in order: behind it everything else is done too.
    NcclWork(group_, {CollectiveKind::kBarrier, {}, 0, {}}).wait();
    group_->finish();
    --num_open;
    finished_ = true;
  }

  std::string description() const override {
    return formatted("nccl {}.{}.{}, {} ranks", NCCL_MAJOR, NCCL_MINOR, NCCL_PATCH, world_size());
  }

 private:
  std::unique_ptr<Work::Operation> begin(const Collective& collective) override {
    LORSA_CHECK(!finished_, Error, "{}: the communicator has finished", to_string(collective));
    return std::make_unique<NcclWork>(group_, collective);
  }

  std::shared_ptr<NcclGroup> group_;
  int exceptions_before_ = std::uncaught_exceptions();
  bool finished_ = false;
};

std::unique_ptr<Communicator> make(const Options& options, const Rendezvous& rendezvous) {
  return std::make_unique<NcclCommunicator>(options, rendezvous);
}

/// The launchers end the other ranks when one exits with a code other than 0; where srun is told
/// not to, those read in the store that this one has failed.
void abort(int exit_code) {
  if (num_open > 0) {
    std::_Exit(exit_code);
  }
}

}  // namespace
}  // namespace lorsa::dist

extern "C" {
LORSA_API extern const lorsa::dist::NcclBackend lorsa_nccl;
const lorsa::dist::NcclBackend lorsa_nccl = {lorsa::dist::make, lorsa::dist::abort};
}
