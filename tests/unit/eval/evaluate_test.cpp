#include "lorsa/eval/evaluate.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <sstream>

#include "eval_setup.h"
#include "lorsa/core/error.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/lm/language_model.h"
#include "support/tensors.h"
#include "support/test.h"
#include "support/tiny_cache.h"

using namespace lorsa;
using test::kContext;
using test::kLayer;
using test::random_lorsa;
using test::Setup;

TEST_CASE("a Lorsa that is the layer itself recovers everything", "[eval]") {
  const Setup s;
  const eval::EvalReport r = test::evaluate(s.save(s.exact()));
  REQUIRE(r.num_rows == 4);
  REQUIRE(r.reconstruction.num_tokens == 4 * (kContext - 1) - 1);
  REQUIRE(r.reconstruction.fvu < 1e-9);
  REQUIRE(r.reconstruction.cosine == Approx(1.0));
  REQUIRE(r.language);
  REQUIRE(r.language->ce_replaced == Approx(r.language->ce_original).epsilon(1e-6));
  REQUIRE(r.language->ce_recovered == Approx(1.0).epsilon(1e-5));
  REQUIRE(std::abs(r.language->kl) < 1e-6);
}

TEST_CASE("an SAE is judged on what the layer writes, not on what it reads", "[eval]") {
  const Setup s;
  model::DictionaryShape shape;
  shape.kind = "sae";
  shape.d_model = shape.num_ov_heads = shape.top_k = s.model.config().d_model;
  shape.activation = model::Activation::kTopKSigned;
  model::DictionaryWeights w;
  w.W_V = at::eye(shape.d_model);
  w.W_O = at::eye(shape.d_model);
  w.b_V = at::zeros({shape.d_model});
  w.b_D = at::zeros({shape.d_model});
  const eval::EvalReport r = test::evaluate(s.save(model::Dictionary(shape, w)));
  REQUIRE(r.reconstruction.fvu < 1e-9);
  REQUIRE(r.language->ce_recovered == Approx(1.0).epsilon(1e-5));
  REQUIRE(r.language->ce_replaced == Approx(r.language->ce_original).epsilon(1e-6));
}

TEST_CASE("cross-entropies equal those of logits with the layer replaced at scored positions",
          "[eval]") {
  const Setup s;
  const model::Dictionary dictionary = random_lorsa(s);
  const eval::EvalReport r = test::evaluate(s.save(dictionary));
  const at::Tensor scored = s.scored_BT.narrow(0, 6, 4).unsqueeze(-1);
  const data::CacheReader cache(s.dir / "cache");
  const at::Tensor mean = at::tensor(cache.manifest().target_mean, at::kDouble).to(at::kFloat);
  const double original =
      s.cross_entropy([](const at::Tensor&, const at::Tensor& out) { return out; });
  const double zero = s.cross_entropy([&](const at::Tensor&, const at::Tensor& out) {
    return at::where(scored, at::zeros_like(out), out);
  });
  const double replaced = s.cross_entropy([&](const at::Tensor& in, const at::Tensor& out) {
    return at::where(scored, dictionary.reconstruct(in).y_BTD, out);
  });
  const double averaged = s.cross_entropy([&](const at::Tensor&, const at::Tensor& out) {
    return at::where(scored, mean.expand_as(out), out);
  });
  REQUIRE(std::abs(replaced - original) > 1e-4);
  REQUIRE(r.language->ce_original == Approx(original).epsilon(1e-6));
  REQUIRE(r.language->ce_zero_ablated == Approx(zero).epsilon(1e-6));
  REQUIRE(r.language->ce_replaced == Approx(replaced).epsilon(1e-6));
  REQUIRE(r.language->ce_mean_ablated == Approx(averaged).epsilon(1e-6));
  REQUIRE(r.language->ce_recovered == Approx((zero - replaced) / (zero - original)).epsilon(1e-4));
  REQUIRE(r.language->num_predictions == 4 * (kContext - 1) - 1);
}

TEST_CASE("kl is the divergence of next-token distributions", "[eval]") {
  const Setup s;
  const model::Dictionary dictionary = random_lorsa(s);
  const eval::EvalReport r = test::evaluate(s.save(dictionary));
  const at::NoGradGuard no_grad;
  const at::Tensor tokens = s.tokens_BT.narrow(0, 6, 4);
  const at::Tensor scored = s.scored_BT.narrow(0, 6, 4);
  const at::Tensor p = at::log_softmax(s.model.logits(tokens).to(at::kDouble), -1);
  const auto edit = [&](const at::Tensor& in, const at::Tensor& out) {
    return at::where(scored.unsqueeze(-1), dictionary.reconstruct(in).y_BTD, out);
  };
  const at::Tensor q =
      at::log_softmax(s.model.logits(tokens, {{Site{kLayer}, edit}}).to(at::kDouble), -1);
  const at::Tensor kl_BT = (p.exp() * (p - q)).sum(-1).narrow(1, 0, kContext - 1);
  const at::Tensor counted = scored.narrow(1, 1, kContext - 1);
  const double expected = (kl_BT * counted).sum().item<double>() / counted.sum().item<double>();
  REQUIRE(expected > 1e-5);
  REQUIRE(r.language->kl == Approx(expected).epsilon(1e-4));
}

TEST_CASE("several reports stand side by side", "[eval]") {
  const Setup s;
  test::EvalCall options = s.save(random_lorsa(s));
  const eval::EvalReport with = test::evaluate(options);
  options.model.clear();
  eval::EvalReport without = test::evaluate(options);
  without.kind = "sae";
  without.reconstruction.fvu = 0.1234;
  const std::string table = to_table(std::vector{with, without});
  REQUIRE_THAT(table, Catch::Contains("1  lorsa, ") && Catch::Contains("2  sae, "));
  std::istringstream lines(table);
  std::string line;
  int found = 0;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string name;
    double first = 0.0, second = 0.0;
    words >> name;
    if (name == "fvu") {
      REQUIRE(words >> first >> second);
      REQUIRE(first == Approx(with.reconstruction.fvu).margin(1e-4));
      REQUIRE(second == Approx(0.1234).margin(1e-9));
      ++found;
    } else if (name == "kl") {
      REQUIRE(words >> first);
      REQUIRE_FALSE(words >> second);
      ++found;
    }
  }
  REQUIRE(found == 2);
  REQUIRE_THROWS_AS(to_table(std::vector<eval::EvalReport>{}), Error);
}

TEST_CASE("without a model the report has no language metrics", "[eval]") {
  const Setup s;
  test::EvalCall options = s.save(random_lorsa(s));
  options.model.clear();
  options.pass.max_rows = 2;
  const eval::EvalReport r = test::evaluate(options);
  REQUIRE(r.num_rows == 2);
  REQUIRE_FALSE(r.language);
  const io::Json json = to_json(r);
  REQUIRE_FALSE(json.contains("kl"));
  REQUIRE(json["fvu"].get<double>() == r.reconstruction.fvu);
  REQUIRE(json["fvu_per_position"].size() == kContext);
  REQUIRE(json["fvu_per_position"][0].is_null());
  REQUIRE_THAT(eval::to_table({r}), Catch::Contains("fvu"));
}

TEST_CASE("checkpoint, cache and model that do not belong together are refused by both names",
          "[eval]") {
  const Setup s;
  SECTION("another cache") {
    const test::EvalCall options = s.save(random_lorsa(s));
    test::write_tiny_cache(s.dir / "other", 10);
    test::EvalCall wrong = options;
    wrong.cache = s.dir / "other";
    REQUIRE_THROWS_WITH(test::evaluate(wrong), Catch::Contains("do not belong together: SHA-256"));
  }
  SECTION("another model") {
    test::EvalCall options = s.save(random_lorsa(s));
    options.model = test::golden("lm/tiny-tied");
    REQUIRE_THROWS_WITH(test::evaluate(options),
                        Catch::Contains("do not belong together: SHA-256"));
  }
  SECTION("no held-out rows") {
    test::EvalCall options = s.save(random_lorsa(s));
    options.pass.batch_sequences = 0;
    REQUIRE_THROWS_AS(test::evaluate(options), ConfigError);
  }
}
