#include "lorsa/toy/config.h"

#include "lorsa/core/error.h"
#include "support/test.h"

using namespace lorsa;

TEST_CASE("toy settings that contradict each other are refused by both names", "[toy]") {
  toy::ToyConfig c;
  REQUIRE_NOTHROW(toy::validate(c));
  SECTION("planting in several layers") {
    c.train.plant = 1.0;
    c.model.layers = 2;
    REQUIRE_THROWS_WITH(toy::validate(c),
                        Catch::Contains("train.plant = 1") && Catch::Contains("model.layers = 2"));
  }
  SECTION("an odd head") {
    c.model.head_width = 7;
    REQUIRE_THROWS_WITH(toy::validate(c), Catch::Contains("model.head_width = 7"));
  }
  SECTION("a segment that cannot return") {
    c.task.kind = toy::TaskKind::kInduction;
    c.task.segment = 6;
    REQUIRE_THROWS_WITH(toy::validate(c), Catch::Contains("task.context_length = 12") &&
                                              Catch::Contains("task.segment = 6") &&
                                              Catch::Contains("13"));
  }
  SECTION("too few words for an induction row") {
    c.task.kind = toy::TaskKind::kInduction;
    c.task.segment = 4;
    c.task.noise_tokens = 10;
    REQUIRE_THROWS_WITH(toy::validate(c), Catch::Contains("task.noise_tokens = 10"));
  }
  SECTION("more scales than places") {
    c.task.kind = toy::TaskKind::kSuccessor;
    c.task.scales = 11;
    REQUIRE_THROWS_WITH(toy::validate(c), Catch::Contains("task.scales = 11"));
  }
  SECTION("an expression that does not fit") {
    c.task.kind = toy::TaskKind::kArithmetic;
    c.task.context_length = 4;
    REQUIRE_THROWS_AS(toy::validate(c), ConfigError);
  }
  SECTION("distances") {
    c.task.kind = toy::TaskKind::kCopy;
    c.task.distances = {1, 11};
    REQUIRE_THROWS_WITH(toy::validate(c), Catch::Contains("task.distances = 11"));
    c.task.distances = {};
    REQUIRE_THROWS_AS(toy::validate(c), ConfigError);
    c.task.distances = {0};
    REQUIRE_THROWS_AS(toy::validate(c), ConfigError);
  }
}
