#include "lorsa/study/study.h"

#include <ATen/ATen.h>

#include <csignal>

#include "lorsa/core/error.h"
#include "lorsa/core/stop_signal.h"
#include "support/lorsa_oracle.h"
#include "support/test.h"
#include "support/throws.h"
#include "support/tiny_cache.h"

using namespace lorsa;

namespace {

constexpr study::PassOptions kQuiet = {.batch_sequences = 3, .progress = Progress::Visible::kNo};

/// Caches of a layer's two components with the same tokens, as one extraction writes them.
struct Sites {
  test::TempDir dir;

  Sites() {
    for (const auto& [name, component] :
         {std::pair("layer-1", Component::kAttention), {"layer-1-mlp", Component::kMlp}}) {
      test::write_tiny_cache(dir / name, 20, component);
    }
  }

  void save(const std::string& name, const std::string& sha256, const Site& site) const {
    model::CheckpointInfo info;
    info.normalization = model::Normalization::kScaled;
    info.input_scale = 0.5;
    info.target_scale = 2.0;
    info.model_name = "tiny";
    info.weights_sha256 = sha256;
    info.site = site;
    info.input_convention = "rms_normalized";
    model::save_checkpoint(dir / name, test::exact_lorsa(test::tiny_attention()), info);
  }
};

template <typename Call>
std::string refusal(const Call& call) {
  return test::message_of<ConfigError>(call);
}

}  // namespace

TEST_CASE("a study opens a checkpoint folded and passes a cache's rows once for all", "[study]") {
  const Sites s;
  s.save("run", "0000", {1});
  study::Study study("cpu");
  study.open_cache(s.dir / "layer-1");
  study.open_checkpoint(s.dir / "run");
  study.add("exact", test::exact_lorsa(test::tiny_attention()));
  study.require_members_of_cache();
  const std::vector<int64_t> rows = study::heldout_rows(study.cache());
  REQUIRE(rows.size() == 4);
  std::vector<int64_t> seen;
  study::for_each_batch(study, "test", rows, kQuiet, [&](const study::StudyBatch& batch) {
    seen.insert(seen.end(), batch.stored().rows.begin(), batch.stored().rows.end());
    CHECK(at::allclose(batch.output(1).y_BTD, batch.target_BTD, 1e-4, 1e-4));
    // W_V and W_Q times 0.5, W_O over 2: another pattern, so another output.
    CHECK_FALSE(at::allclose(batch.output(0).y_BTD, batch.target_BTD, 1e-2, 1e-2));
    CHECK(&batch.output(0) == &batch.output(0));
  });
  CHECK(seen == rows);
  CHECK(study.find_attention() == study.find_attention());
}

TEST_CASE("caches of several sites hold the same rows", "[study]") {
  const Sites s;
  study::Study study("cpu");
  study.open_cache(s.dir / "layer-1");
  study.open_cache(s.dir / "layer-1-mlp");
  REQUIRE(study.find_cache({1, Component::kMlp}) != nullptr);
  CHECK(study.find_cache({2}) == nullptr);
  CHECK(study.cache().manifest().site == Site{1});
  const study::StudyBatch batch(study, {3, 7});
  const data::CacheReader mlp(s.dir / "layer-1-mlp");
  const study::SiteRows& rows = batch.at({1, Component::kMlp});
  CHECK(at::equal(rows.target_BTD, mlp.read({3, 7}).target_BTD));
  CHECK_FALSE(at::equal(rows.target_BTD, batch.target_BTD));
  CHECK(at::equal(batch.at(Site{1}).input_BTD, batch.input_BTD));
  CHECK_THROWS_AS(batch.at(Site{2}), ConfigError);
  CHECK_THAT(refusal([&] { study.open_cache(s.dir / "layer-1"); }),
             Catch::Contains("a second cache of layer 1, attention"));
  test::write_tiny_cache(s.dir / "others", 20, Component::kMlp, {}, 50);
  study::Study tokens("cpu");
  tokens.open_cache(s.dir / "layer-1");
  tokens.open_cache(s.dir / "others");
  CHECK_THROWS_WITH(study::StudyBatch(tokens, {3}).at({1, Component::kMlp}),
                    Catch::Contains("others") && Catch::Contains("row 3"));
  test::write_tiny_cache(s.dir / "shorter", 15, Component::kMlp);
  study::Study other("cpu");
  other.open_cache(s.dir / "layer-1");
  CHECK_THAT(refusal([&] { other.open_cache(s.dir / "shorter"); }),
             Catch::Contains("do not belong together: number of rows is 20 and 15"));
}

TEST_CASE("what belongs to another model or site is refused by both names", "[study]") {
  const Sites s;
  s.save("other-model", "1111", {1});
  s.save("other-layer", "0000", {2});
  study::Study study("cpu");
  study.open_cache(s.dir / "layer-1");
  test::require_parts(refusal([&] { study.open_checkpoint(s.dir / "other-model"); }),
                      {"layer-1", "other-model", "SHA-256", "0000", "1111"});
  CHECK_THAT(refusal([&] { study.require_members_of_cache(); }),
             Catch::Contains("at least one checkpoint"));
  study.open_checkpoint(s.dir / "other-layer");
  test::require_parts(refusal([&] { study.require_members_of_cache(); }),
                      {"other-layer", "layer-1", "site is layer 2, attention", "layer 1"});
  study::Study mlp("cpu");
  mlp.open_cache(s.dir / "layer-1-mlp");
  CHECK_THAT(refusal([&] { mlp.add("lorsa", test::exact_lorsa(test::tiny_attention())); }),
             Catch::Contains("does not stand for layer 1, mlp"));
  CHECK(mlp.find_attention() == nullptr);
  CHECK_THROWS_AS(mlp.model(), ConfigError);
  mlp.open_model(test::golden("lm/tiny-plain"));
  CHECK_THAT(refusal([&] { (void)mlp.model(); }), Catch::Contains("SHA-256"));
}

TEST_CASE("a pass stops on a signal and needs rows in its batches", "[study]") {
  const Sites s;
  study::Study study("cpu");
  study.open_cache(s.dir / "layer-1");
  const std::vector<int64_t> rows = study::heldout_rows(study.cache(), 3);
  CHECK(rows.size() == 3);
  const auto nothing = [](const study::StudyBatch&) {};
  CHECK_THROWS_AS(study::for_each_batch(study, "test", rows, {.batch_sequences = 0}, nothing),
                  ConfigError);
  const StopSignal stop;
  std::raise(SIGTERM);
  CHECK_THROWS_AS(study::for_each_batch(study, "test", rows, kQuiet, nothing), Interrupted);
}

TEST_CASE("rows are spread evenly over those there are", "[study]") {
  CHECK(study::spread({0, 1, 2, 3}, 0) == std::vector<int64_t>{0, 1, 2, 3});
  CHECK(study::spread({0, 1, 2, 3}, 9) == std::vector<int64_t>{0, 1, 2, 3});
  CHECK(study::spread({0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 4) == std::vector<int64_t>{0, 2, 5, 7});
}
