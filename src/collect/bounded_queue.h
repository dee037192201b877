#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <utility>

namespace lorsa::collect {

/// Hands values from one thread to another, at most `capacity` of them waiting.
///
/// Either side ends it: the producer with close(), or with fail() to have the error thrown in the
/// consumer behind the values already queued. abandon() drops what waits and lets both go: push()
/// takes and pop() gives nothing more.
template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {}

  /// Waits for room. False if nobody will take the value.
  bool push(T value) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return abandoned_ || values_.size() < capacity_; });
    if (abandoned_) {
      return false;
    }
    values_.push_back(std::move(value));
    changed_.notify_all();
    return true;
  }

  /// Waits for a value; nothing after the last one. Throws what fail() was given.
  std::optional<T> pop() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || abandoned_ || !values_.empty(); });
    if (values_.empty()) {
      if (error_) {
        std::rethrow_exception(error_);
      }
      return std::nullopt;
    }
    std::optional<T> value(std::move(values_.front()));
    values_.pop_front();
    changed_.notify_all();
    return value;
  }

  void close() { fail(nullptr); }

  void fail(std::exception_ptr error) {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
    error_ = std::move(error);
    changed_.notify_all();
  }

  void abandon() {
    const std::scoped_lock lock(mutex_);
    abandoned_ = true;
    values_.clear();
    changed_.notify_all();
  }

 private:
  const size_t capacity_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> values_;
  std::exception_ptr error_;
  bool closed_ = false;
  bool abandoned_ = false;
};

}  // namespace lorsa::collect
