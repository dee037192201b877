#include <exception>
#include <limits>

#include "dist/backends.h"
#include "dist/collective.h"
#include "dist/mpi_engine.h"
#include "dist/mpi_session.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"

namespace lorsa::dist {
namespace {

class MpiWork final : public Work::Operation {
 public:
  MpiWork(std::shared_ptr<MpiEngine> engine, std::shared_ptr<MpiOperation> operation)
      : engine_(std::move(engine)), operation_(std::move(operation)) {}

  bool done() override { return engine_->done(*operation_); }

  void wait() override { engine_->wait(*operation_); }

 private:
  std::shared_ptr<MpiEngine> engine_;
  std::shared_ptr<MpiOperation> operation_;
};

/// Where the engine cannot be made, the ranks that came wait for this one: the session is broken.
std::shared_ptr<MpiEngine> open_engine(const Options& options) {
  mpi_session::open(options.rank);
  try {
    return std::make_shared<MpiEngine>(options.timeout_s);
  } catch (...) {
    mpi_session::mark_broken();
    throw;
  }
}

class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(const Options& options)
      : Communicator(options.rank, options.device), engine_(open_engine(options)) {}

  ~MpiCommunicator() override {
    if (!finished_ && std::uncaught_exceptions() == exceptions_before_ && !engine_->failed()) {
      try {
        finish();
      } catch (const std::exception& error) {
        log_error("leaving the other ranks: {}", error.what());
      }
    }
    if (!finished_) {
      mpi_session::mark_broken();
      engine_->abandon();
    }
  }

  void finish() override {
    if (finished_) {
      return;
    }
    barrier();
    engine_->wait_for_all();
    engine_->close();
    mpi_session::close();
    finished_ = true;
  }

  std::string description() const override {
    return formatted("mpi ({}), {} ranks", mpi_session::library_name(), world_size());
  }

 private:
  std::unique_ptr<Work::Operation> begin(const Collective& collective) override {
    check(collective);
    return std::make_unique<MpiWork>(engine_, engine_->begin(collective));
  }

  void check(const Collective& collective) const {
    LORSA_CHECK(!finished_, Error, "{}: the communicator has finished", to_string(collective));
    const bool reduces =
        collective.kind == CollectiveKind::kSum || collective.kind == CollectiveKind::kMax;
    LORSA_CHECK(!reduces || collective.tensor.scalar_type() != at::kBFloat16, ShapeError,
                "{}: MPI does not compute with bfloat16; reduce in float32", to_string(collective));
    LORSA_CHECK(collective.kind != CollectiveKind::kAllGather ||
                    collective.tensor.numel() <= std::numeric_limits<int>::max(),
                ShapeError, "{}: all_gather is for small tensors, at most {} elements",
                to_string(collective), std::numeric_limits<int>::max());
  }

  std::shared_ptr<MpiEngine> engine_;
  int exceptions_before_ = std::uncaught_exceptions();
  bool finished_ = false;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi(const Options& options) {
  return std::make_unique<MpiCommunicator>(options);
}

void abort_mpi(int exit_code) noexcept {
  mpi_session::abort(exit_code);
}

}  // namespace lorsa::dist
