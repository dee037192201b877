#include "lorsa/experiments/error_analysis.h"

#include <ATen/ATen.h>

#include <map>

#include "lorsa/core/error.h"
#include "lorsa/data/cache_reader.h"
#include "measured_setup.h"
#include "support/throws.h"

using namespace lorsa;
using experiments::ErrorAnalysis;
using test::random_lorsa;

namespace {

struct ErrorOptions : test::Comparison {
  int64_t max_fit_rows = 400;
};

ErrorOptions options_for(const std::filesystem::path& cache) {
  ErrorOptions options;
  options.cache = cache;
  return options;
}

ErrorAnalysis analyze_errors(const std::filesystem::path& checkpoint,
                             const std::filesystem::path& reference,
                             const ErrorOptions& options) {
  return experiments::analyze_errors(test::study_of(options.cache, {checkpoint, reference}),
                                     options.pass, options.max_fit_rows);
}

std::map<std::string, double> by_name(const ErrorAnalysis& analysis) {
  return {analysis.norm_from.begin(), analysis.norm_from.end()};
}

// Writes nothing: its error is the target.
model::Dictionary silent_lorsa() {
  model::Dictionary dictionary = random_lorsa(3);
  dictionary.weights().b_V.fill_(-1000.0);
  return dictionary;
}

}  // namespace

TEST_CASE("what errors are made of is what numpy finds", "[experiments]") {
  const test::GoldenMeasures golden;
  ErrorOptions options = options_for(golden.dir / "cache");
  options.max_fit_rows = golden.size(2);
  const ErrorAnalysis analysis = analyze_errors(golden.dir / "first", golden.dir / "sae", options);
  io::Json json = to_json(analysis);
  CHECK(json["checkpoint"] == (golden.dir / "first").string());
  CHECK(json["reference"] == (golden.dir / "sae").string());
  json.erase("checkpoint");
  json.erase("reference");
  // Outputs and patterns are float32, numpy's double: some 1e-7 of their size, which is a little
  // more of an error's square.
  test::check_json(json, golden.expected["errors"], 3e-6);

  options.pass.batch_sequences = 100;
  const io::Json at_once =
      to_json(analyze_errors(golden.dir / "first", golden.dir / "sae", options));
  test::check_json(at_once, to_json(analysis), 1e-6);
}

TEST_CASE("an error that is the reference's is predicted from it", "[experiments]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 200);
  test::save_for_tiny_cache(dir / "lorsa", random_lorsa(3));
  const ErrorAnalysis same =
      analyze_errors(dir / "lorsa", dir / "lorsa", options_for(dir / "cache"));
  CHECK(same.num_fit_tokens == 160 * 15);
  CHECK(same.num_tokens == 40 * 15);
  // The penalty takes a little.
  CHECK(same.vector_from_reference > 0.999);
  CHECK(same.vector_from_reference < 1.0);
  CHECK(same.vector_from_input < 0.9);
  CHECK(by_name(same)["reference_error"] == Approx(1.0).epsilon(1e-9));
  CHECK(by_name(same)["position"] < 0.5);
  CHECK(same.fvu == same.reference_fvu);
  CHECK(same.unexplained == same.reference_unexplained);

  // The target is its own prediction where nothing is written.
  test::save_for_tiny_cache(dir / "silent", silent_lorsa());
  const ErrorAnalysis silent =
      analyze_errors(dir / "silent", dir / "lorsa", options_for(dir / "cache"));
  CHECK(silent.vector_from_target > 0.999);
  CHECK(silent.vector_from_reference < 0.9);
  CHECK(silent.log_slope == Approx(1.0).epsilon(1e-9));
  CHECK(silent.log_correlation == Approx(1.0).epsilon(1e-9));
  CHECK(by_name(silent)["target_norm"] == Approx(1.0).epsilon(1e-9));
  REQUIRE(silent.by_target_norm.size() == 20);
  for (size_t i = 0; i < 20; ++i) {
    CHECK(silent.by_target_norm[i].error_norm ==
          Approx(silent.by_target_norm[i].target_norm).epsilon(1e-12));
    CHECK((i == 0 ||
           silent.by_target_norm[i].target_norm > silent.by_target_norm[i - 1].target_norm));
  }
  for (const double share : silent.unexplained) {
    CHECK(share == Approx(1.0).epsilon(1e-6));
  }
}

TEST_CASE("an error of the position alone is predicted from the position", "[experiments]") {
  const test::TempDir dir;
  at::manual_seed(5);
  const at::Tensor size_T = at::arange(16, at::kFloat).sqrt() + 1.0;
  const at::Tensor direction_D = at::randn({20});
  test::write_cache_of(dir / "cache",
                       (size_T.unsqueeze(1) * direction_D).expand({60, 16, 20}).contiguous(), 4);
  test::save_for_tiny_cache(dir / "silent", silent_lorsa());
  test::save_for_tiny_cache(dir / "lorsa", random_lorsa(3));
  ErrorOptions options = options_for(dir / "cache");
  options.max_fit_rows = 20;
  const ErrorAnalysis analysis = analyze_errors(dir / "silent", dir / "lorsa", options);
  CHECK(analysis.num_fit_tokens == 20 * 15);
  CHECK(by_name(analysis)["position"] > 0.999);
  CHECK(by_name(analysis)["all"] > 0.999);
  CHECK(by_name(analysis)["token_frequency"] < 0.1);
  CHECK(analysis.vector_from_input < 0.1);
  // One direction holds all of the variance; the others are left out.
  REQUIRE(analysis.variance_share.size() == 1);
  CHECK(analysis.variance_share[0] == Approx(1.0));
  CHECK(analysis.unexplained[0] == Approx(1.0));
}

TEST_CASE("directions weighted by their variance add up to fvu without the mean error",
          "[experiments]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 50);
  model::Dictionary dictionary = random_lorsa(3);
  dictionary.weights().b_D.fill_(0.05);
  test::save_for_tiny_cache(dir / "lorsa", dictionary);
  const ErrorOptions options = options_for(dir / "cache");
  const ErrorAnalysis analysis = analyze_errors(dir / "lorsa", dir / "lorsa", options);
  const data::CacheReader cache(dir / "cache");
  const data::Batch batch = cache.read(cache.rows(data::Side::kHeldout));
  const at::Tensor t = batch.target_BTD.index({batch.scored_BT}).to(at::kDouble);
  const at::Tensor y = dictionary.reconstruct(batch.input_BTD).y_BTD.index({batch.scored_BT});
  const at::Tensor mean_error_D = (t - y.to(at::kDouble)).mean(0);
  const double per_token =
      (t - t.mean(0)).square().sum().item<double>() / static_cast<double>(t.size(0));
  double sum = 0.0, shares = 0.0;
  for (size_t i = 0; i < analysis.variance_share.size(); ++i) {
    sum += analysis.variance_share[i] * analysis.unexplained[i];
    shares += analysis.variance_share[i];
    CHECK((i == 0 || analysis.variance_share[i] <= analysis.variance_share[i - 1]));
  }
  CHECK(shares == Approx(1.0));
  const double of_mean = mean_error_D.square().sum().item<double>() / per_token;
  CHECK(of_mean > 0.01);
  // The layer writes 8 dimensions a head, 20 in all: no direction is left out.
  CHECK(sum == Approx(analysis.fvu - of_mean).epsilon(1e-6));
}

TEST_CASE("numbers without a denominator are null", "[experiments]") {
  const test::TempDir dir;
  test::write_cache_of(dir / "cache", at::ones({10, 16, 20}), 5);
  test::save_for_tiny_cache(dir / "silent", silent_lorsa());
  const io::Json json =
      to_json(analyze_errors(dir / "silent", dir / "silent", options_for(dir / "cache")));
  CHECK(json["fvu"].is_null());
  CHECK(json["log_slope"].is_null());
  CHECK(json["vector_from_input"].is_null());
  CHECK(json["norm_from"]["all"].is_null());
  CHECK(json["variance_share"].empty());
  CHECK(json["by_target_norm"].size() == 20);
}

TEST_CASE("errors that cannot be analysed are refused", "[experiments]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 10);
  test::save_for_tiny_cache(dir / "lorsa", random_lorsa(3));
  test::save_for_tiny_cache(dir / "other", random_lorsa(3), 8);
  const auto message = [&](const std::string& reference, const ErrorOptions& options) {
    return test::message_of<ConfigError>(
        [&] { (void)analyze_errors(dir / "lorsa", dir / reference, options); });
  };
  ErrorOptions options = options_for(dir / "cache");
  test::require_parts(message("other", options), {"other", "site is layer 8", "layer 1"});
  options.max_fit_rows = 0;
  test::require_parts(message("lorsa", options), {"max_fit_rows", "found 0"});
  options = options_for(dir / "all-heldout");
  test::write_cache_of(dir / "all-heldout", at::randn({4, 16, 20}), 1);
  test::require_parts(message("lorsa", options), {"all-heldout", "no training rows"});
  options = options_for(dir / "no-heldout");
  test::write_cache_of(dir / "no-heldout", at::randn({4, 16, 20}), 10);
  test::require_parts(message("lorsa", options), {"no-heldout", "no held-out rows"});
}
