#include "lorsa/train/config.h"

#include "lorsa/core/error.h"
#include "support/test.h"

using namespace lorsa;

namespace {

train::RunConfig::Train schedule() {
  train::RunConfig::Train t;
  t.tokens = 1000;
  t.learning_rate = 0.5;
  t.warmup_tokens = 100;
  t.decay_fraction = 0.2;
  t.initial_k = 64;
  t.k_anneal_tokens = 200;
  return t;
}

}  // namespace

TEST_CASE("the learning rate warms up, stays and decays linearly to zero", "[train]") {
  const auto t = schedule();
  REQUIRE(train::learning_rate_at(t, 0) == 0.0);
  REQUIRE(train::learning_rate_at(t, 50) == Approx(0.25));
  REQUIRE(train::learning_rate_at(t, 100) == Approx(0.5));
  REQUIRE(train::learning_rate_at(t, 500) == Approx(0.5));
  REQUIRE(train::learning_rate_at(t, 800) == Approx(0.5));
  REQUIRE(train::learning_rate_at(t, 900) == Approx(0.25));
  REQUIRE(train::learning_rate_at(t, 1000) == 0.0);
  REQUIRE(train::learning_rate_at(t, 2000) == 0.0);
}

TEST_CASE("a schedule without warm-up and decay is constant", "[train]") {
  auto t = schedule();
  t.warmup_tokens = 0;
  t.decay_fraction = 0.0;
  REQUIRE(train::learning_rate_at(t, 0) == 0.5);
  REQUIRE(train::learning_rate_at(t, 999) == 0.5);
}

TEST_CASE("K goes from initial_k to top_k along the chosen curve", "[train]") {
  auto t = schedule();
  REQUIRE(train::top_k_at(t, 16, 0) == 64);
  REQUIRE(train::top_k_at(t, 16, 100) == 40);
  REQUIRE(train::top_k_at(t, 16, 199) == 16);
  REQUIRE(train::top_k_at(t, 16, 200) == 16);
  REQUIRE(train::top_k_at(t, 16, 5000) == 16);
  t.k_anneal = train::Anneal::kExponential;
  REQUIRE(train::top_k_at(t, 16, 100) == 32);
  t.k_anneal = train::Anneal::kCosine;
  REQUIRE(train::top_k_at(t, 16, 100) == 40);
  REQUIRE(train::top_k_at(t, 16, 50) == 57);
  t.initial_k = 0;
  REQUIRE(train::top_k_at(t, 16, 0) == 16);
  t.initial_k = 1;
  t.k_anneal = train::Anneal::kLinear;
  REQUIRE(train::top_k_at(t, 5, 0) == 1);
  REQUIRE(train::top_k_at(t, 5, 100) == 3);
  REQUIRE(train::top_k_at(t, 5, 199) == 5);
  t.k_anneal = train::Anneal::kExponential;
  REQUIRE(train::top_k_at(t, 16, 100) == 4);
}

TEST_CASE("more threads read for CUDA unless the configuration says how many", "[train]") {
  train::RunConfig::Data data;
  CHECK(train::reader_threads_for(data, c10::kCPU) == 1);
  CHECK(train::reader_threads_for(data, c10::Device(c10::kCUDA, 0)) == 4);
  // A thread without a batch to read would be none.
  CHECK(data.read_ahead_batches >= 4);
  data.reader_threads = 2;
  CHECK(train::reader_threads_for(data, c10::kCPU) == 2);
  CHECK(train::reader_threads_for(data, c10::Device(c10::kCUDA, 0)) == 2);
}

TEST_CASE("settings that contradict each other are refused by both names", "[train]") {
  train::RunConfig c;
  c.model.num_ov_heads = 64;
  c.model.num_qk_heads = 4;
  c.model.d_qk = 8;
  c.model.top_k = 8;
  c.train.tokens = 1000;
  REQUIRE_NOTHROW(train::validate(c));
  SECTION("top_k above the heads") {
    c.model.top_k = 80;
    REQUIRE_THROWS_WITH(train::validate(c), "model.top_k = 80 exceeds model.num_ov_heads = 64");
  }
  SECTION("QK heads that do not divide") {
    c.model.num_qk_heads = 5;
    REQUIRE_THROWS_AS(train::validate(c), ConfigError);
  }
  SECTION("initial_k above the heads") {
    c.train.initial_k = 65;
    REQUIRE_THROWS_WITH(train::validate(c), "train.initial_k = 65 exceeds model.num_ov_heads = 64");
  }
  SECTION("a warm-up longer than the run") {
    c.train.warmup_tokens = 1001;
    REQUIRE_THROWS_AS(train::validate(c), ConfigError);
  }
}
