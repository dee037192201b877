#include "dist/job_store.h"

#include <chrono>
#include <future>

#include "dist/lost_ranks.h"
#include "lorsa/core/error.h"
#include "support/throws.h"

namespace lorsa::dist {
namespace {

// The ranks are objects of one process, whose connection to the store they share: the first one is
// rank 0, which serves it, and port 0 is any free one.
const Rendezvous kHere = {"127.0.0.1", 0, false, "test"};

JobStore store_of(int64_t rank, int64_t group, double timeout_s = 20) {
  return {kHere, {rank, 3, rank}, group, timeout_s};
}

TEST_CASE("ranks join, and those that do not are named", "[dist]") {
  JobStore first = store_of(0, 1, 0.5);
  JobStore third = store_of(2, 1, 0.5);
  third.post(0);
  test::require_parts(test::message_of<DeviceError>([&] { first.join(); }),
                      {"rank 0 waited 0.5 s", "127.0.0.1", "; rank 1 did not arrive"});
  JobStore second = store_of(1, 1, 20);
  auto joined = std::async(std::launch::async, [&] { second.join(); });
  first.join();
  joined.get();
  third.join();
}

TEST_CASE("the board shows what each rank has begun", "[dist]") {
  JobStore first = store_of(0, 2);
  JobStore second = store_of(1, 2);
  CHECK(first.begun() == std::vector<int64_t>(3, RollCall::kSilent));
  first.post(7);
  second.post(1);
  second.post(12);
  CHECK(second.begun() == std::vector<int64_t>{7, 12, RollCall::kSilent});
  // Communicators of one process and their process groups do not see each other's keys.
  CHECK(store_of(0, 3).begun() == std::vector<int64_t>(3, RollCall::kSilent));
  CHECK_FALSE(first.for_process_group()->check({"begun/0"}));
}

TEST_CASE("the first failure is told to all", "[dist]") {
  JobStore first = store_of(0, 4);
  JobStore second = store_of(1, 4);
  CHECK_FALSE(first.failure().has_value());
  second.post_failure("no memory");
  first.post_failure("because of rank 1");
  REQUIRE(first.failure().has_value());
  CHECK(*first.failure() == "rank 1 has failed: no memory");
}

TEST_CASE("rank 0 serves the store until all have left", "[dist]") {
  JobStore first = store_of(0, 5, 30);
  JobStore second = store_of(1, 5);
  JobStore third = store_of(2, 5);
  auto left = std::async(std::launch::async, [&] { first.leave(); });
  second.leave();
  CHECK(left.wait_for(std::chrono::milliseconds(300)) == std::future_status::timeout);
  third.leave();
  CHECK(left.wait_for(std::chrono::seconds(20)) == std::future_status::ready);
}

}  // namespace
}  // namespace lorsa::dist
