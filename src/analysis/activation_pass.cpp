#include "analysis/activation_pass.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "analysis/patterns.h"
#include "collect/bounded_queue.h"
#include "lorsa/core/stop_signal.h"

namespace lorsa::analysis {
namespace {

using Clock = std::chrono::steady_clock;

/// A batch behind the model: its activations are not needed any more.
struct ReadBatch {
  data::Batch batch;
  model::Reading reading;
};

/// Ends both queues whatever happens, so that the threads beside can be joined.
struct Abandon {
  collect::BoundedQueue<data::Batch>& batches;
  collect::BoundedQueue<ReadBatch>& readings;

  ~Abandon() {
    batches.abandon();
    readings.close();
  }
};

class Pass {
 public:
  Pass(const DumpInputs& in, PassState& state, DelphiExport* delphi)
      : in_(in), state_(state), delphi_(delphi) {}

  bool run(const std::function<void()>& after_batch) {
    const int64_t length = in_.manifest().context_length;
    Progress progress("activations", static_cast<int64_t>(in_.rows.size()) * length, "tokens",
                      state_.rows_done * length, in_.progress);
    bool complete = false;
    {
      const std::jthread reader([this, first = state_.rows_done] { read_rows(first); });
      const std::jthread collector([&] { collect_batches(after_batch, progress); });
      const Abandon at_the_end{batches_, readings_};
      complete = forward();
    }
    if (collect_error_) {
      std::rethrow_exception(collect_error_);
    }
    progress.finish();
    state_.forward_seconds += forward_seconds_;
    return complete;
  }

 private:
  void read_rows(int64_t first) {
    try {
      const auto num_rows = static_cast<int64_t>(in_.rows.size());
      for (int64_t begin = first; begin < num_rows; begin += in_.batch_rows) {
        const int64_t end = std::min(num_rows, begin + in_.batch_rows);
        if (!batches_.push(
                in_.study.cache().read({in_.rows.begin() + begin, in_.rows.begin() + end}))) {
          return;
        }
      }
      batches_.close();
    } catch (...) {
      batches_.fail(std::current_exception());
    }
  }

  /// False if it was stopped.
  bool forward() {
    const model::Dictionary& dictionary = in_.dictionary;
    while (std::optional<data::Batch> batch = batches_.pop()) {
      if (StopSignal::requested()) {
        return false;
      }
      const auto start = Clock::now();
      const at::Tensor& read = dictionary.read_of(batch->input_BTD, batch->target_BTD);
      model::Reading reading = dictionary.read(read.to(in_.study.device(), at::kFloat));
      // Copying waits for a CUDA device, so the time is the pass's.
      reading.kept = {reading.kept.value_PK.to(at::kCPU), reading.kept.head_PK.to(at::kCPU)};
      forward_seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
      batch->input_BTD = batch->target_BTD = at::Tensor();
      if (!readings_.push({std::move(*batch), std::move(reading)})) {
        return false;  // the collecting thread failed
      }
    }
    return true;
  }

  void collect_batches(const std::function<void()>& after_batch, Progress& progress) {
    try {
      while (const std::optional<ReadBatch> read = readings_.pop()) {
        state_.collector.add(read->reading.kept, read->batch.scored_BT, read->batch.rows);
        fill_contexts(in_.dictionary, read->reading, read->batch, state_.collector.take_fresh());
        if (delphi_ != nullptr) {
          delphi_->add(read->reading.kept, read->batch.scored_BT, read->batch.tokens_BT);
        }
        state_.rows_done += static_cast<int64_t>(read->batch.rows.size());
        progress.update(state_.rows_done * in_.manifest().context_length);
        after_batch();
      }
    } catch (...) {
      collect_error_ = std::current_exception();
      readings_.abandon();
    }
  }

  const DumpInputs& in_;
  PassState& state_;
  DelphiExport* delphi_;
  collect::BoundedQueue<data::Batch> batches_{1};
  collect::BoundedQueue<ReadBatch> readings_{1};
  double forward_seconds_ = 0.0;
  std::exception_ptr collect_error_;
};

}  // namespace

bool run_activation_pass(const DumpInputs& in,
                         PassState& state,
                         DelphiExport* delphi,
                         const std::function<void()>& after_batch) {
  Pass pass(in, state, delphi);
  return pass.run(after_batch);
}

}  // namespace lorsa::analysis
