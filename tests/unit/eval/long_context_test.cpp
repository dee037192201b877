#include "eval/long_context.h"

#include <ATen/ATen.h>

#include "lorsa/core/error.h"
#include "lorsa/kernels/mhsa.h"
#include "support/lorsa_oracle.h"
#include "support/tensors.h"
#include "support/test.h"
#include "support/throws.h"

using namespace lorsa;

TEST_CASE("held-out rows are laid end to end with one BOS a row", "[eval]") {
  // BOS is 0; 4 is not scored.
  const at::Tensor tokens =
      at::tensor({0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9}, at::kInt).reshape({3, 4});
  const at::Tensor scored = (tokens != 0).logical_and(tokens != 4);
  const eval::LongRows rows = eval::join_rows(tokens, scored, 5, eval::RowStart::kBos);
  CHECK(rows.tokens_nT.equal(at::tensor({0, 1, 2, 3, 4, 0, 5, 6, 7, 8}, at::kInt).reshape({2, 5})));
  CHECK(rows.scored_nT.equal(
      at::tensor({0, 1, 1, 1, 0, 0, 1, 1, 1, 1}).reshape({2, 5}).to(at::kBool)));
  const eval::LongRows text = eval::join_rows(tokens, scored, 5, eval::RowStart::kText);
  CHECK(text.tokens_nT.equal(at::tensor({0, 1, 2, 3, 0, 4, 5, 6, 0, 7}, at::kInt).reshape({2, 5})));
}

TEST_CASE("a longer row takes as many held-out rows as its tokens need", "[eval]") {
  CHECK(eval::rows_for(256, 256, eval::RowStart::kBos) == 1);
  CHECK(eval::rows_for(257, 256, eval::RowStart::kBos) == 2);
  CHECK(eval::rows_for(512, 256, eval::RowStart::kBos) == 3);
  CHECK(eval::rows_for(512, 256, eval::RowStart::kText) == 2);
  const at::Tensor tokens = at::zeros({2, 4}, at::kInt);
  const at::Tensor scored = at::ones({2, 4}, at::kBool);
  CHECK(eval::join_rows(tokens, scored, 7, eval::RowStart::kBos).tokens_nT.size(0) == 1);
  test::require_parts(test::message_of<ConfigError>(
                          [&] { (void)eval::join_rows(tokens, scored, 8, eval::RowStart::kBos); }),
                      {"8 tokens", "3 held-out rows", "found 2"});
}

TEST_CASE("longer rows are judged on what the language model computes on them", "[eval]") {
  const lm::LanguageModel model(test::golden("lm/long-llama3"), c10::Device("cpu"));
  at::manual_seed(61);
  const at::Tensor tokens = at::randint(3, 60, {3, 300}, at::kInt);
  const at::Tensor scored = at::rand({3, 300}) < 0.9;
  const model::Dictionary exact = test::exact_lorsa(model.attention(1));
  model::DictionaryShape shape = exact.shape();
  shape.top_k = 5;
  const model::Dictionary sparse(shape, exact.weights());
  const std::vector<eval::LongContextReport> found = eval::judge_long_rows(
      model, Site{1}, {&exact, &sparse}, {tokens, scored}, 2, Progress::Visible::kNo);
  CHECK(found[0].fvu < 1e-9);

  const lm::SiteActivations taps = model.activations(tokens, {Site{1}}).front();
  const auto kept = [&](const at::Tensor& all_BTD) {
    return all_BTD.index({scored}).to(at::kDouble);
  };
  const at::Tensor t = kept(taps.output_BTD);
  const at::Tensor y = kept(sparse.reconstruct(taps.input_BTD).y_BTD);
  const double expected = ((t - y).square().sum() / (t - t.mean(0)).square().sum()).item<double>();
  CHECK(expected > 0.01);
  CHECK(found[1].fvu == Approx(expected).epsilon(1e-5));
  CHECK(found[1].context_length == 300);
  CHECK(found[1].num_rows == 3);
  CHECK(found[1].num_tokens == scored.sum().item<int64_t>());
  REQUIRE(found[1].fvu_per_bucket.size() == 2);
  const auto end = [](const at::Tensor& all_BT) { return all_BT.slice(1, 256); };
  const at::Tensor t_end = end(taps.output_BTD).index({end(scored)}).to(at::kDouble);
  const at::Tensor y_end =
      end(sparse.reconstruct(taps.input_BTD).y_BTD).index({end(scored)}).to(at::kDouble);
  const double at_end =
      ((t_end - y_end).square().sum() / (t_end - t_end.mean(0)).square().sum()).item<double>();
  CHECK(found[1].fvu_per_bucket[1] == Approx(at_end).epsilon(1e-5));
  CHECK(found[1].fvu_per_bucket[0] != Approx(at_end).epsilon(1e-3));
}
