#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <string>

#include "lorsa/core/api.h"
#include "lorsa/core/launch.h"

namespace lorsa::dist {

/// What carries tensors between the ranks of a job.
enum class Backend {
  kAuto,    ///< kSingle for one rank, else kNccl for a CUDA device and kMpi for the CPU
  kSingle,  ///< one rank, nothing to carry
  kMpi,     ///< CPU tensors, ranks started by mpirun or by srun with its MPI
  kNccl     ///< CUDA tensors, ranks started by torchrun, mpirun or srun
};

struct Options {
  Backend backend = Backend::kAuto;
  double timeout_s = 600.0;  ///< how long this rank waits for the others in any one call
  LaunchRank rank;           ///< launch_rank()
  c10::Device device = c10::Device(c10::kCPU);  ///< where this rank's tensors lie
};

/// A begun operation. Move-only.
///
/// The tensor may not be read or written between begin and wait(). One that is dropped without
/// wait() runs on with its tensor kept alive; its failure then shows in the next call.
class LORSA_API Work {
 public:
  /// A backend's side of it.
  class Operation {
   public:
    Operation() = default;
    virtual ~Operation() = default;
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;

    [[nodiscard]] virtual bool done() = 0;
    virtual void wait() = 0;
  };

  /// One that is done.
  Work() = default;

  explicit Work(std::unique_ptr<Operation> operation) : operation_(std::move(operation)) {}

  /// Blocks until the tensor holds the result. A second call does nothing. Throws DeviceError that
  /// names operation, time-out and the ranks that did not arrive; the communicator is then
  /// unusable.
  void wait();

  /// Whether wait() would return (or throw) at once.
  [[nodiscard]] bool done() const;

 private:
  std::unique_ptr<Operation> operation_;
};

struct Collective;

/// The ranks of a job, which compute the same steps on different data.
///
/// Every rank makes the same calls in the same order, with tensors of the same shape and dtype,
/// from one thread at a time. Tensors are contiguous, lie on device() and are float32, float64 or
/// int64, with NCCL also bfloat16 (MPI broadcasts and gathers it but does not reduce it):
/// ShapeError otherwise. Results are bitwise the same on all ranks. Each call is in place and
/// blocks, except begin_; one that waits for longer than the time-out throws as Work::wait().
///
/// The destructor finishes, unless an exception is on its way out or a call has failed: then it
/// leaves the others alone, and abort_job() ends them.
class LORSA_API Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  [[nodiscard]] int64_t rank() const { return rank_; }

  [[nodiscard]] int64_t world_size() const { return world_size_; }

  [[nodiscard]] c10::Device device() const { return device_; }

  /// Starts to replace `tensor` by its sum over all ranks; proceeds while the caller computes.
  /// Several may be under way.
  [[nodiscard]] Work begin_all_reduce_sum(const at::Tensor& tensor);

  void all_reduce_sum(const at::Tensor& tensor);

  /// Element by element. What it makes of NaN is not defined.
  void all_reduce_max(const at::Tensor& tensor);

  /// Replaces `tensor` by that of rank `root`.
  void broadcast(const at::Tensor& tensor, int64_t root);

  /// The tensors of all ranks, [world_size, ...]; meant for small ones.
  [[nodiscard]] at::Tensor all_gather(const at::Tensor& tensor);

  /// Returns once every rank has called it.
  void barrier();

  /// Waits for what is under way, meets the others for a last time and leaves. No call may follow,
  /// a second finish() does nothing.
  virtual void finish() = 0;

  /// "single", "mpi (Open MPI v4.1.4), 4 ranks": for logs and environment.json.
  [[nodiscard]] virtual std::string description() const = 0;

 protected:
  Communicator(const LaunchRank& rank, c10::Device device)
      : rank_(rank.rank), world_size_(rank.world_size), device_(device) {}

 private:
  /// Starts a collective whose arguments were checked. Null if it is already done.
  virtual std::unique_ptr<Work::Operation> begin(const Collective& collective) = 0;

  void check_tensor(const at::Tensor& tensor, const char* call) const;

  int64_t rank_;
  int64_t world_size_;
  c10::Device device_;
};

/// Meets the other ranks. One rank never touches MPI or NCCL.
///
/// Throws ConfigError where backend, device and ranks do not go together or the environment does
/// not say where the ranks meet, DeviceError where this build or machine lacks the backend or ranks
/// do not arrive in time.
[[nodiscard]] LORSA_API std::unique_ptr<Communicator> make_communicator(const Options& options);

/// Ends this process and all others of the job with `exit_code`, if a communicator over several
/// ranks was made and has not finished; returns otherwise. For a program's outermost catch: the
/// ranks that wait for this one would wait until their time-outs. Flushes nothing.
LORSA_API void abort_job(int exit_code) noexcept;

}  // namespace lorsa::dist
