#include "dist/mpi_engine.h"

#include <algorithm>
#include <utility>

#include "dist/lost_ranks.h"
#include "lorsa/core/error.h"

namespace lorsa::dist {
namespace {

using namespace std::chrono_literals;

// MPI counts in int, and Open MPI reduces a tensor as a tree: in chunks, its levels work at the
// same time, and a chunk stays in the cache. 16M floats on two ranks of a two-core machine: 21 ms
// in chunks of 2^18, 32 ms of 2^20, 64 ms of 2^22, 77 ms in one (Open MPI 4.1.4, 2026-11).
constexpr int64_t kChunkElements = int64_t{1} << 18;
constexpr size_t kMostRunning = 4;

constexpr auto kIdlePoll = 20ms;        // nothing under way: only questions may come
constexpr auto kComputingPoll = 100us;  // the caller wants the core
constexpr auto kWaitingPoll = 50us;
constexpr int kYieldingPolls = 2000;  // before a waiting rank's thread starts to sleep

std::chrono::duration<double> seconds(double value) {
  return std::chrono::duration<double>(value);
}

MPI_Datatype mpi_type(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return MPI_FLOAT;
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kLong:
      return MPI_INT64_T;
    default:
      return MPI_UINT16_T;  // bfloat16, which is carried and not computed with
  }
}

/// A communicator of its own, so that nobody else's messages are taken for ours. The call that
/// makes it waits for all ranks.
MPI_Comm duplicate_world(double timeout_s) {
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Comm_idup(MPI_COMM_WORLD, &comm, &request), "MPI_Comm_idup");
  const auto start = std::chrono::steady_clock::now();
  for (int done = 0; done == 0;) {
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    LORSA_CHECK(done != 0 || std::chrono::steady_clock::now() - start < seconds(timeout_s),
                DeviceError, "make_communicator: not all ranks have come within {} s", timeout_s);
    std::this_thread::sleep_for(done != 0 ? 0us : 100us);
  }
  check_mpi(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return comm;
}

}  // namespace

MpiEngine::MpiEngine(double timeout_s) : timeout_s_(timeout_s), comm_(duplicate_world(timeout_s)) {
  check_mpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  roll_call_ = std::make_unique<MpiRollCall>(comm_);
  thread_ = std::thread([this] { run(); });
}

MpiEngine::~MpiEngine() {
  stop_thread();
}

std::shared_ptr<MpiOperation> MpiEngine::begin(Collective collective) {
  const std::lock_guard lock(mutex_);
  if (error_ != nullptr) {
    std::rethrow_exception(error_);
  }
  auto operation = std::make_shared<MpiOperation>();
  operation->collective = std::move(collective);
  operation->number = ++num_begun_;
  posted_.push_back(operation);
  unfinished_.push_back(operation);
  wake_.notify_one();
  return operation;
}

bool MpiEngine::done(const MpiOperation& operation) {
  const std::lock_guard lock(mutex_);
  return operation.done || error_ != nullptr;
}

void MpiEngine::wait(const MpiOperation& operation) {
  std::unique_lock lock(mutex_);
  ++num_waiting_;
  wake_.notify_one();
  const auto ready = [&] { return operation.done || error_ != nullptr; };
  if (!changed_.wait_for(lock, seconds(timeout_s_), ready)) {
    roll_call_wanted_ = true;
    wake_.notify_one();
    // The thread's own limit is shorter; it cannot keep it where MPI does not return.
    changed_.wait_for(lock, 10s, [&] { return !present_.empty() || error_ != nullptr; });
    if (error_ == nullptr) {
      error_ = lost_ranks(operation);
    }
    const auto has_begun = [&](int64_t num_begun) { return num_begun >= operation.number; };
    if (std::all_of(present_.begin(), present_.end(), has_begun)) {
      // A launcher that ends the job because of another rank's time-out wakes a stopped rank first,
      // which then answers: time for it to end this one before it tells of a stalled network.
      changed_.wait_for(lock, 2s, [&] { return operation.done; });
    }
  }
  --num_waiting_;
  if (!operation.done) {
    std::rethrow_exception(error_);
  }
}

std::exception_ptr MpiEngine::lost_ranks(const MpiOperation& operation) const {
  const std::string what = to_string(operation.collective);
  if (present_.empty()) {
    return std::make_exception_ptr(
        DeviceError(formatted("rank {} waited {} s for {}, and MPI on this rank does not return",
                              rank_, timeout_s_, what)));
  }
  return std::make_exception_ptr(
      DeviceError(lost_ranks_message({what, operation.number, rank_, timeout_s_, present_})));
}

void MpiEngine::wait_for_all() {
  std::unique_lock lock(mutex_);
  while (!unfinished_.empty()) {
    const std::shared_ptr<MpiOperation> operation = unfinished_.front();
    lock.unlock();
    wait(*operation);
    lock.lock();
  }
}

bool MpiEngine::failed() {
  const std::lock_guard lock(mutex_);
  return error_ != nullptr;
}

void MpiEngine::close() {
  stop_thread();
  check_mpi(MPI_Comm_free(&comm_), "MPI_Comm_free");
}

void MpiEngine::abandon() {
  stop_thread();
  // MPI may still write to the tensors.
  static auto* const kept = new std::vector<std::shared_ptr<MpiOperation>>;
  kept->insert(kept->end(), unfinished_.begin(), unfinished_.end());
  static_cast<void>(roll_call_.release());
}

void MpiEngine::stop_thread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }
  if (thread_.joinable()) {
    thread_.join();
  }
}

void MpiEngine::run() {
  bool asked = false;
  std::unique_lock lock(mutex_);
  // Also after a time-out: others that wait ask whether this rank lives.
  for (bool usable = true; usable && !stopping_;) {
    pause(lock);
    for (const std::shared_ptr<MpiOperation>& operation : std::exchange(posted_, {})) {
      accept(operation);
    }
    const int64_t num_begun = num_begun_;
    const bool ask = roll_call_wanted_ && !asked;
    lock.unlock();
    std::vector<std::shared_ptr<MpiOperation>> completed;
    bool all_present = false;
    std::exception_ptr error;
    try {
      completed = advance();
      roll_call_->answer(num_begun);
      if (ask) {
        roll_call_->ask();
        asked = true;
      }
      all_present = asked && roll_call_->ended();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    for (const std::shared_ptr<MpiOperation>& operation : completed) {
      operation->done = true;
      std::erase(unfinished_, operation);
    }
    if (all_present && present_.empty()) {
      present_ = roll_call_->answers();
      present_[static_cast<size_t>(rank_)] = num_begun_;
    }
    if (error != nullptr) {
      usable = false;
      error_ = error_ == nullptr ? error : error_;
    }
    num_fruitless_polls_ = completed.empty() ? num_fruitless_polls_ + 1 : 0;
    if (!completed.empty() || all_present || error != nullptr) {
      changed_.notify_all();
    }
  }
}

void MpiEngine::pause(std::unique_lock<std::mutex>& lock) {
  if (!posted_.empty()) {
    num_fruitless_polls_ = 0;
    return;
  }
  if (waiting_.empty() && running_.empty()) {
    wake_.wait_for(lock, kIdlePoll);
  } else if (num_waiting_ == 0) {
    wake_.wait_for(lock, kComputingPoll);
  } else if (num_fruitless_polls_ > kYieldingPolls) {
    wake_.wait_for(lock, kWaitingPoll);
  } else {
    lock.unlock();
    std::this_thread::yield();
    lock.lock();
  }
}

void MpiEngine::accept(const std::shared_ptr<MpiOperation>& operation) {
  const Collective& collective = operation->collective;
  const bool whole =
      collective.kind == CollectiveKind::kBarrier || collective.kind == CollectiveKind::kAllGather;
  const int64_t size = whole ? 0 : collective.tensor.numel();
  for (int64_t first = 0; whole || first < size; first += kChunkElements) {
    waiting_.push_back({operation, first, std::min(kChunkElements, size - first)});
    ++operation->num_chunks_left;
    if (whole) {
      return;
    }
  }
}

void MpiEngine::start(Chunk& chunk) {
  const Collective& collective = chunk.operation->collective;
  if (collective.kind == CollectiveKind::kBarrier) {
    check_mpi(MPI_Ibarrier(comm_, &chunk.request), "MPI_Ibarrier");
    return;
  }
  const at::Tensor& tensor = collective.tensor;
  const MPI_Datatype type = mpi_type(tensor.scalar_type());
  auto* const data = static_cast<char*>(tensor.mutable_data_ptr()) +
                     chunk.first * static_cast<int64_t>(tensor.element_size());
  const int count = static_cast<int>(chunk.count);
  switch (collective.kind) {
    case CollectiveKind::kSum:
    case CollectiveKind::kMax: {
      const MPI_Op op = collective.kind == CollectiveKind::kSum ? MPI_SUM : MPI_MAX;
      check_mpi(MPI_Iallreduce(MPI_IN_PLACE, data, count, type, op, comm_, &chunk.request),
                "MPI_Iallreduce");
      break;
    }
    case CollectiveKind::kBroadcast:
      check_mpi(
          MPI_Ibcast(data, count, type, static_cast<int>(collective.root), comm_, &chunk.request),
          "MPI_Ibcast");
      break;
    case CollectiveKind::kAllGather: {
      const int each = static_cast<int>(tensor.numel());
      void* const gathered = collective.gathered.mutable_data_ptr();
      check_mpi(MPI_Iallgather(data, each, type, gathered, each, type, comm_, &chunk.request),
                "MPI_Iallgather");
      break;
    }
    case CollectiveKind::kBarrier:
      break;
  }
}

std::vector<std::shared_ptr<MpiOperation>> MpiEngine::advance() {
  while (!waiting_.empty() && running_.size() < kMostRunning) {
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    start(running_.back());
  }
  std::vector<std::shared_ptr<MpiOperation>> completed;
  for (Chunk& chunk : running_) {
    int done = 0;
    check_mpi(MPI_Test(&chunk.request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    if (done != 0 && --chunk.operation->num_chunks_left == 0) {
      completed.push_back(chunk.operation);
    }
  }
  std::erase_if(running_, [](const Chunk& chunk) { return chunk.request == MPI_REQUEST_NULL; });
  return completed;
}

}  // namespace lorsa::dist
