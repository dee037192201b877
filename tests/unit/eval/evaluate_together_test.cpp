#include <ATen/ATen.h>

#include <sstream>

#include "eval_setup.h"
#include "lorsa/core/error.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/eval/evaluate.h"
#include "lorsa/metrics/error_correlation.h"
#include "support/throws.h"

using namespace lorsa;
using test::kContext;
using test::random_lorsa;
using test::Setup;

namespace {

model::Dictionary identity_sae(int64_t d_model, int64_t top_k) {
  model::DictionaryShape shape;
  shape.kind = "sae";
  shape.d_model = shape.num_ov_heads = d_model;
  shape.top_k = top_k;
  shape.activation = model::Activation::kTopKSigned;
  model::DictionaryWeights w;
  w.W_V = at::eye(d_model);
  w.W_O = at::eye(d_model);
  w.b_V = at::zeros({d_model});
  w.b_D = at::zeros({d_model});
  return model::Dictionary(shape, w);
}

// A Lorsa and an SAE that are both wrong, and how to judge them.
struct Pair {
  Setup setup;
  model::Dictionary dictionary = random_lorsa(setup);
  model::Dictionary sae = identity_sae(dictionary.shape().d_model, 4);
  test::EvalCall options;
  std::vector<std::filesystem::path> checkpoints;

  Pair() {
    (void)setup.save(sae, "sae");
    options = setup.save(dictionary, "lorsa");
    checkpoints = {setup.dir / "lorsa", setup.dir / "sae"};
  }
};

}  // namespace

TEST_CASE("checkpoints judged together have the numbers that each has alone", "[eval]") {
  const Pair p;
  test::EvalCall options = p.options;
  options.context_lengths = {30};
  const std::vector<eval::EvalReport> together = test::evaluate_all(options, p.checkpoints);
  REQUIRE(together.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    options.checkpoint = p.checkpoints[i];
    io::Json alone = to_json(test::evaluate(options));
    io::Json one = to_json(together[i]);
    REQUIRE(one.erase("shared_errors") == 1);
    CHECK(one == alone);
    CHECK(alone["long_contexts"][0]["num_rows"] == 1);
  }
  REQUIRE_THROWS_AS(test::evaluate_all(options, {}), ConfigError);
}

TEST_CASE("dictionaries in memory are refused where they do not fit the cache", "[eval]") {
  const Pair p;
  study::Study study = test::study_of(p.options, {});
  CHECK_THROWS_WITH(study.add("narrow", identity_sae(3, 2)),
                    Catch::Contains("narrow and cache") && Catch::Contains("d_model is 3"));
}

TEST_CASE("errors of checkpoints judged together are compared over all rows", "[eval]") {
  const Pair p;
  const std::vector<eval::EvalReport> reports = test::evaluate_all(p.options, p.checkpoints);
  const data::CacheReader cache(p.setup.dir / "cache");
  const data::Batch batch = cache.read(cache.rows(data::Side::kHeldout));
  metrics::ErrorCorrelationMeter meter(2);
  meter.add(
      {p.dictionary.reconstruct(batch.input_BTD).y_BTD, p.sae.reconstruct(batch.target_BTD).y_BTD},
      batch.target_BTD, batch.scored_BT);
  const metrics::ErrorCorrelationReport expected = meter.report();
  REQUIRE(reports[1].shared_errors.size() == 2);
  const eval::SharedError& shared = reports[1].shared_errors[0];
  CHECK(shared.checkpoint == p.checkpoints[0].string());
  CHECK(shared.cosine == Approx(expected.cosine_CC[1][0].item<double>()).epsilon(1e-6));
  CHECK(shared.squared_norm_correlation ==
        Approx(expected.squared_norm_correlation_CC[1][0].item<double>()).epsilon(1e-6));
  CHECK(shared.explained == Approx(expected.explained_CC[1][0].item<double>()).epsilon(1e-6));
  CHECK(shared.explained > 0.0);
  CHECK(shared.explained < 0.99);
  const io::Json json = to_json(reports[0]);
  CHECK(json["shared_errors"][1]["checkpoint"] == p.checkpoints[1].string());
  CHECK(json["shared_errors"][1]["explained"] == reports[0].shared_errors[1].explained);
  CHECK(json["shared_errors"][0]["explained"].get<double>() == Approx(1.0));
}

TEST_CASE("patterns are compared on the first rows and of a Lorsa alone", "[eval]") {
  const Pair p;
  test::EvalCall options = p.options;
  options.pattern_rows = 2;
  const std::vector<eval::EvalReport> reports = test::evaluate_all(options, p.checkpoints);
  REQUIRE(reports[0].patterns);
  REQUIRE_FALSE(reports[1].patterns);
  CHECK(reports[0].patterns->num_rows == 2);
  const data::CacheReader cache(p.setup.dir / "cache");
  const std::vector<int64_t>& rows = cache.rows(data::Side::kHeldout);
  const data::Batch batch = cache.read({rows[0], rows[1]});
  eval::PatternMeter meter(p.dictionary, cache.attention());
  meter.add(batch.input_BTD, batch.scored_BT);
  const eval::PatternReport expected = meter.report();
  const io::Json json = to_json(reports[0]);
  CHECK(json["attention_fidelity"].get<double>() == expected.fidelity);
  CHECK(json["attention"]["num_queries"] == expected.num_queries);
  const auto N = static_cast<size_t>(expected.divergence_NS.size(0));
  REQUIRE(json["attention"]["mhsa_heads"].size() == N);
  REQUIRE(json["attention"]["kl"].size() == N);
  for (size_t n = 0; n < N; ++n) {
    const auto head = static_cast<int64_t>(n);
    const auto closest = expected.closest_qk_N[head].item<int64_t>();
    const io::Json& found = json["attention"]["mhsa_heads"][n];
    CHECK(found["closest_qk_head"] == closest);
    CHECK(found["kl"] == json["attention"]["kl"][n][static_cast<size_t>(closest)]);
    CHECK(found["first_token_mass"] == expected.first_mass_N[head].item<double>());
    CHECK(found["closest_first_token_mass"] == expected.first_mass_S[closest].item<double>());
  }
  const io::Json& qk = json["attention"]["qk_heads"][1];
  CHECK(qk["closest_mhsa_head"] == expected.closest_mhsa_S[1].item<int64_t>());
  CHECK(qk["kl"] == expected.divergence_NS.select(1, 1).min().item<double>());
  CHECK(qk["first_token_mass"] == expected.first_mass_S[1].item<double>());

  options.pattern_rows = 0;
  options.checkpoint = p.checkpoints[0];
  const io::Json without = to_json(test::evaluate(options));
  CHECK_FALSE(without.contains("attention"));
  CHECK_FALSE(without.contains("attention_fidelity"));
}

TEST_CASE("the layer's own heads are not spread and a random direction is", "[eval]") {
  const Setup s;
  const eval::EvalReport exact = test::evaluate(s.save(s.exact()));
  CHECK(exact.spread->head_spread == 0.0);
  CHECK(exact.spread->histogram_counts.back() == exact.spread->num_heads);
  const eval::EvalReport random = test::evaluate(s.save(random_lorsa(s), "random"));
  CHECK(random.spread->head_spread > 0.9);
  const auto acting = (random.usage.rate_H > 0).sum().item<int64_t>();
  CHECK(random.spread->num_heads == acting);
  const io::Json json = to_json(random);
  CHECK(json["head_spread"].get<double>() == random.spread->head_spread);
  CHECK(json["largest_output_share"]["num_heads"] == acting);
  CHECK(json["largest_output_share"]["heads"].size() == eval::kSpreadBins);
}

TEST_CASE("a context of the cache's own length has the fvu of the cache", "[eval]") {
  const Pair p;
  test::EvalCall options = p.options;
  options.context_lengths = {kContext, 2 * kContext};
  const std::vector<eval::EvalReport> reports = test::evaluate_all(options, p.checkpoints);
  for (const eval::EvalReport& report : reports) {
    REQUIRE(report.long_contexts.size() == 2);
    CHECK(report.long_contexts[0].num_rows == 4);
    CHECK(report.long_contexts[0].num_tokens == report.reconstruction.num_tokens);
    CHECK(report.long_contexts[0].fvu == Approx(report.reconstruction.fvu).epsilon(1e-4));
    CHECK(report.long_contexts[1].context_length == 2 * kContext);
    CHECK(report.long_contexts[1].num_rows == 1);
  }
}

TEST_CASE("context lengths that cannot be had are refused before any row is read", "[eval]") {
  const Pair p;
  const auto message = [&](int64_t length, const std::string& model) {
    test::EvalCall options = p.options;
    options.context_lengths = {length};
    options.model = model;
    return test::message_of<ConfigError>([&] { (void)test::evaluate_all(options, p.checkpoints); });
  };
  const std::string model = p.options.model.string();
  test::require_parts(message(20, ""), {"`context_lengths`", "`model`"});
  test::require_parts(message(257, model), {"`context_lengths`: 257", "256 positions", model});
  test::require_parts(message(46, model), {"5 held-out rows of 12", "found 4", "cache"});
  test::require_parts(message(1, model), {"2 or more: 1"});
}

TEST_CASE("a table of several checkpoints ends with what their errors share", "[eval]") {
  const Pair p;
  test::EvalCall options = p.options;
  options.context_lengths = {30};
  const std::vector<eval::EvalReport> reports = test::evaluate_all(options, p.checkpoints);
  std::istringstream lines(to_table(reports));
  std::string line;
  std::vector<double> row;
  bool explained = false;
  int found = 0;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string name;
    double first = 0.0, second = 0.0;
    words >> name;
    explained = explained || name == "share";
    if (name == "attention_fidelity") {
      REQUIRE(words >> first);
      CHECK(first == Approx(reports[0].patterns->fidelity).margin(1e-4));
      REQUIRE_FALSE(words >> second);
      ++found;
    } else if (line.rfind("  fvu at 30", 0) == 0) {
      words >> name >> name >> first >> second;
      CHECK(second == Approx(reports[1].long_contexts[0].fvu).margin(1e-4));
      ++found;
    } else if (explained && name == "2") {
      REQUIRE(words >> first >> second);
      CHECK(first == Approx(reports[1].shared_errors[0].explained).margin(1e-4));
      CHECK(second == Approx(1.0));
      ++found;
    }
  }
  CHECK(found == 3);
  const std::string alone = eval::to_table({reports[0]});
  for (const char* part :
       {"attention_fidelity", "head_spread", "fvu at 30", "qk_first_token_mass"}) {
    CHECK_THAT(alone, Catch::Contains(part));
  }
}
