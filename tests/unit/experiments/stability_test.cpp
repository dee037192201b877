#include "lorsa/experiments/stability.h"

#include <ATen/ATen.h>

#include "lorsa/core/error.h"
#include "measured_setup.h"
#include "support/throws.h"

using namespace lorsa;
using experiments::StabilityReport;
using test::random_lorsa;

namespace {

struct StabilityOptions : test::Comparison {
  double threshold = 0.7;
};

StabilityOptions stability_options_for(const std::filesystem::path& cache) {
  StabilityOptions options;
  options.cache = cache;
  options.pass.batch_sequences = 2;
  return options;
}

StabilityReport match_heads(const std::filesystem::path& first,
                            const std::filesystem::path& second,
                            const StabilityOptions& options) {
  return experiments::match_heads(test::study_of(options.cache, {first, second}), options.pass,
                                  options.threshold);
}

// A tiny cache and checkpoints for it.
struct Tiny {
  test::TempDir dir;
  StabilityOptions options = stability_options_for(dir / "cache");

  Tiny() { test::write_tiny_cache(dir / "cache", 40); }

  [[nodiscard]] std::filesystem::path save(const std::string& name,
                                           const model::Dictionary& dictionary,
                                           int64_t layer = 1) const {
    test::save_for_tiny_cache(dir / name, dictionary, layer);
    return dir / name;
  }
};

model::Dictionary random_sae() {
  model::DictionaryShape shape;
  shape.kind = "sae";
  shape.d_model = 20;
  shape.num_ov_heads = 30;
  shape.top_k = 3;
  model::DictionaryWeights w;
  w.W_V = at::randn({30, 20});
  w.b_V = at::zeros({30});
  w.W_O = at::randn({30, 20});
  w.b_D = at::zeros({20});
  return model::Dictionary(shape, w);
}

}  // namespace

TEST_CASE("head matches are those of dense matrices in numpy", "[experiments]") {
  const test::GoldenMeasures golden;
  StabilityOptions options = stability_options_for(golden.dir / "cache");
  const StabilityReport report = match_heads(golden.dir / "first", golden.dir / "second", options);
  io::Json json = to_json(report);
  CHECK(json["first"] == (golden.dir / "first").string());
  CHECK(json["second"] == (golden.dir / "second").string());
  json.erase("first");
  json.erase("second");
  test::check_json(json, golden.expected["stability"], 1e-6);

  // In one batch, and the other way round.
  options.pass.batch_sequences = 100;
  test::check_json(to_json(match_heads(golden.dir / "first", golden.dir / "second", options)),
                   to_json(report), 1e-6);
  const StabilityReport back = match_heads(golden.dir / "second", golden.dir / "first", options);
  CHECK(back.share_first == report.share_second);
  CHECK(back.share_second == report.share_first);
  CHECK(back.share_one_to_one == report.share_one_to_one);
}

TEST_CASE("a training finds all its heads again in itself and in another order", "[experiments]") {
  const Tiny tiny;
  const model::Dictionary dictionary = random_lorsa(3);
  // QK heads 2, 0, 3, 1, and the OV heads of each backwards, written in other units.
  model::DictionaryWeights w = dictionary.weights();
  std::vector<int64_t> heads, rows;
  for (const int64_t s : {2, 0, 3, 1}) {
    for (int64_t i = 0; i < 8; ++i) {
      rows.push_back(s * 8 + i);
    }
    for (int64_t i = 5; i >= 0; --i) {
      heads.push_back(s * 6 + i);
    }
  }
  const at::Tensor order = at::tensor(heads), row_order = at::tensor(rows);
  w.W_Q = w.W_Q.index_select(0, row_order);
  w.W_K = w.W_K.index_select(0, row_order);
  w.W_V = w.W_V.index_select(0, order) * 2.0;
  w.W_O = w.W_O.index_select(0, order) / 2.0;
  const auto first = tiny.save("first", dictionary);
  for (const auto& second :
       {first, tiny.save("second", model::Dictionary(dictionary.shape(), w))}) {
    const StabilityReport report = match_heads(first, second, tiny.options);
    CHECK(report.num_tokens == 8 * 15);
    CHECK(report.num_heads_first > 12);
    CHECK(report.num_heads_second == report.num_heads_first);
    for (const double share : {report.share_first, report.share_second, report.share_one_to_one,
                               report.share_direction, report.share_firing}) {
      CHECK(share == 1.0);
    }
    CHECK(report.mean_match == Approx(1.0).epsilon(1e-5));
    CHECK(report.histogram.size() == 20);
    CHECK(report.histogram.back() == report.num_heads_first);
  }
}

TEST_CASE("heads that write or fire otherwise do not match", "[experiments]") {
  const Tiny tiny;
  const model::Dictionary dictionary = random_lorsa(3);
  const auto first = tiny.save("first", dictionary);
  // Random rows as long as before: the same heads are kept.
  model::DictionaryWeights directions = dictionary.weights();
  directions.W_O = at::randn({24, 20});
  directions.W_O *=
      (dictionary.output_norms() / at::linalg_vector_norm(directions.W_O, 2, at::IntArrayRef{1}))
          .unsqueeze(1);
  const StabilityReport turned =
      match_heads(first, tiny.save("directions", model::Dictionary(dictionary.shape(), directions)),
                  tiny.options);
  CHECK(turned.share_firing == 1.0);
  CHECK(turned.share_first == 0.0);
  CHECK(turned.share_one_to_one == 0.0);
  CHECK(turned.mean_match < 0.3);

  model::DictionaryWeights firing = dictionary.weights();
  firing.W_V = at::randn({24, 20}) * 0.3;
  const StabilityReport moved = match_heads(
      first, tiny.save("firing", model::Dictionary(dictionary.shape(), firing)), tiny.options);
  CHECK(moved.share_direction > 0.9);
  CHECK(moved.share_first < 0.15);
  CHECK(moved.mean_match < 0.5);
  CHECK(moved.mean_match > 0.0);
}

TEST_CASE("features of SAEs are matched by what they read from the target", "[experiments]") {
  const Tiny tiny;
  at::manual_seed(9);
  const auto sae = tiny.save("sae", random_sae());
  const StabilityReport report = match_heads(sae, sae, tiny.options);
  CHECK(report.share_one_to_one == 1.0);
  CHECK(report.num_heads_first <= 30);
}

TEST_CASE("checkpoints that cannot be matched are refused", "[experiments]") {
  const Tiny tiny;
  const auto first = tiny.save("first", random_lorsa(3));
  const auto message = [&](const std::filesystem::path& second, const StabilityOptions& options) {
    return test::message_of<ConfigError>([&] { (void)match_heads(first, second, options); });
  };
  test::require_parts(message(tiny.save("other-layer", random_lorsa(4), 7), tiny.options),
                      {"other-layer", "cache", "site is layer 7", "layer 1"});
  test::require_parts(message(tiny.save("sae", random_sae()), tiny.options),
                      {"first", "sae", "a Lorsa and an SAE"});
  model::Dictionary dead = random_lorsa(3);
  dead.weights().b_V.fill_(-1000.0);
  test::require_parts(message(tiny.save("dead", dead), tiny.options),
                      {"dead: no head acts", "8 held-out rows"});
  StabilityOptions options = tiny.options;
  options.threshold = 1.0;
  test::require_parts(message(first, options), {"threshold", "[0, 1)", "1"});
  options = tiny.options;
  options.pass.batch_sequences = 0;
  test::require_parts(message(first, options), {"batch_sequences", "0"});
  test::write_tiny_cache(tiny.dir / "no-heldout", 3);
  options.cache = tiny.dir / "no-heldout";
  options.pass.batch_sequences = 2;
  test::require_parts(message(first, options), {"no-heldout", "no held-out rows"});
}

TEST_CASE("as many held-out rows are matched on as asked for", "[experiments]") {
  const Tiny tiny;
  const auto first = tiny.save("first", random_lorsa(3));
  StabilityOptions options = tiny.options;
  options.pass.max_rows = 3;
  CHECK(match_heads(first, first, options).num_tokens == 3 * 15);
}
