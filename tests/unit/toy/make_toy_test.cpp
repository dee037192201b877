#include "lorsa/toy/make_toy.h"

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "lorsa/lm/tokenizer.h"
#include "support/temp_dir.h"
#include "support/test.h"

using namespace lorsa;

namespace {

toy::ToyConfig small(const std::filesystem::path& out) {
  toy::ToyConfig config;
  config.run.out = out.string();
  config.run.threads = 1;
  config.task.rules = 4;
  config.task.sources = 2;
  config.task.noise_tokens = 6;
  config.train.steps = 300;
  config.train.batch_rows = 64;
  config.train.learning_rate = 0.01;
  config.corpus.rows = 200;
  return config;
}

}  // namespace

TEST_CASE("a target model learns its task and the same seed gives the same bytes", "[toy]") {
  const test::TempDir folder;
  const toy::ToySummary first = toy::make_toy(small(folder / "a"), Progress::Visible::kNo);
  REQUIRE(first.accuracy > 0.95);
  REQUIRE_FALSE(first.already_done);
  static_cast<void>(toy::make_toy(small(folder / "b"), Progress::Visible::kNo));
  for (const char* file : {"model.safetensors", "corpus.npy", "truth.json", "tokenizer.json"}) {
    INFO(file);
    REQUIRE(io::read_file(folder / "a" / file) == io::read_file(folder / "b" / file));
  }
}

TEST_CASE("a finished toy is left alone and another configuration is refused", "[toy]") {
  const test::TempDir folder;
  toy::ToyConfig config = small(folder / "toy");
  config.train.steps = 3;
  const toy::ToySummary first = toy::make_toy(config, Progress::Visible::kNo);
  const toy::ToySummary second = toy::make_toy(config, Progress::Visible::kNo);
  REQUIRE(second.already_done);
  REQUIRE(second.loss == first.loss);
  config.train.steps = 4;
  REQUIRE_THROWS_AS(toy::make_toy(config, Progress::Visible::kNo), ConfigError);
  io::write_file(folder / "other.txt", "mine");
  config.run.out = folder.path().string();
  REQUIRE_THROWS_AS(toy::make_toy(config, Progress::Visible::kNo), ConfigError);
  REQUIRE(io::read_file(folder / "other.txt") == "mine");
}

TEST_CASE("the toy's tokenizer takes its words whole", "[toy]") {
  const test::TempDir folder;
  toy::ToyConfig config = small(folder / "toy");
  config.train.steps = 1;
  static_cast<void>(toy::make_toy(config, Progress::Visible::kNo));
  const lm::Tokenizer tokenizer(folder / "toy");
  const std::vector<int32_t> ids = tokenizer.encode(" s1 n5 d3", lm::SpecialTokens::kNone);
  REQUIRE(ids == std::vector<int32_t>{2, 16, 6});
  REQUIRE(tokenizer.decode(ids) == " s1 n5 d3");
  REQUIRE(tokenizer.bos_id() == 0);
}
