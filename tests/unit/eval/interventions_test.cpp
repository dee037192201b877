#include "lorsa/eval/interventions.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>

#include "eval_call.h"
#include "lorsa/core/error.h"
#include "lorsa/data/cache_writer.h"
#include "lorsa/eval/evaluate.h"
#include "lorsa/io/files.h"
#include "lorsa/model/checkpoint.h"
#include "support/test.h"
#include "support/throws.h"
#include "support/tiny_cache.h"
#include "tiny_edits.h"

using namespace lorsa;
using test::TinyEdits;

namespace {

constexpr int64_t kEditsContext = 16;

// A cache of the tiny model, six of its ten rows for training, and a Lorsa for it.
struct EditsSetup : TinyEdits {
  test::TempDir dir;
  eval::ProbeRows heldout;
  model::Dictionary unit_form = made();
  test::EvalCall options;

  EditsSetup() {
    data::Manifest plan = test::tiny_plan(model.config().d_model, kEditsContext);
    plan.weights_sha256 = model.weights_sha256();
    data::CacheWriter writer(dir / "cache", plan, model.attention(kLayer), 100);
    const at::Tensor tokens_BT = rows(10, kEditsContext).tokens_BT;
    const auto activations = model.activations(tokens_BT, {Site{kLayer}});
    data::RowBlock block{
        activations[0].input_BTD, activations[0].output_BTD, tokens_BT, tokens_BT != 0, {}, {}};
    for (int64_t row = 0; row < 10; ++row) {
      block.document.push_back(row);
      block.heldout.push_back(row >= 6 ? 1 : 0);
    }
    writer.append(block);
    writer.finish();
    heldout = eval::scored_rows(tokens_BT.narrow(0, 6, 4), block.scored_BT.narrow(0, 6, 4));
    model::CheckpointInfo info;
    info.model_name = "tiny";
    info.weights_sha256 = model.weights_sha256();
    info.site.layer = kLayer;
    info.input_convention = "rms_normalized";
    // evaluate() is to bring it to unit form itself.
    model::DictionaryWeights w = unit_form.weights();
    w.W_V = w.W_V / 3.0;
    w.b_V = w.b_V / 3.0;
    w.W_O = w.W_O * 3.0;
    model::save_checkpoint(dir / "checkpoint", model::Dictionary(unit_form.shape(), w), info);
    options.checkpoint = dir / "checkpoint";
    options.cache = dir / "cache";
    options.model = test::golden("collect/model");
    options.pass.batch_sequences = 3;
    options.pass.progress = Progress::Visible::kNo;
  }

  [[nodiscard]] model::Dictionary made() const {
    at::manual_seed(71);
    return dictionary(model::Activation::kTopK);
  }

  [[nodiscard]] eval::EditedLayer layer() const { return {model, unit_form, kLayer}; }

  // Heads that act at scored positions of held-out rows.
  [[nodiscard]] std::set<int64_t> acting() const {
    const at::Tensor input = model.activations(heldout.tokens_BT, {Site{kLayer}})[0].input_BTD;
    const kernels::TopK kept = unit_form.reconstruct(input).kept;
    std::set<int64_t> heads;
    for (int64_t p = 0; p < kept.head_PK.size(0); ++p) {
      for (int64_t k = 0; k < kept.head_PK.size(1); ++k) {
        if (heldout.edited_BT.flatten()[p].item<bool>() && kept.value_PK[p][k].item<float>() > 0) {
          heads.insert(kept.head_PK[p][k].item<int64_t>());
        }
      }
    }
    return heads;
  }

  [[nodiscard]] std::string refused() const {
    return test::message_of<ConfigError>([&] { (void)test::evaluate(options); });
  }
};

void require_same(const eval::EditEffect& found, const eval::EditEffect& expected) {
  REQUIRE(found.num_predictions == expected.num_predictions);
  REQUIRE(found.ce_original == Approx(expected.ce_original).epsilon(1e-6));
  REQUIRE(found.ce_edited == Approx(expected.ce_edited).epsilon(1e-6));
  REQUIRE(found.kl == Approx(expected.kl).epsilon(1e-3).margin(1e-9));
}

}  // namespace

TEST_CASE("a dictionary in memory has its folder's numbers and stays as it is", "[eval]") {
  EditsSetup s;
  s.options.interventions.ablate_heads = "0";
  const model::Dictionary own = model::load_folded(s.options.checkpoint).dictionary;
  const at::Tensor W_O = own.weights().W_O.clone();
  study::Study study = test::study_of(s.options, {});
  study.add(s.options.checkpoint.string(), own);
  const std::vector<eval::EvalReport> reports = eval::evaluate(study, s.options);
  CHECK(to_json(reports.at(0)) == to_json(test::evaluate(s.options)));
  CHECK(at::equal(own.weights().W_O, W_O));
}

TEST_CASE("edits are measured on the held-out rows and on repeated tokens", "[eval]") {
  EditsSetup s;
  const int64_t acts = *s.acting().begin();
  s.options.interventions.ablate_heads = formatted("{}", acts);
  s.options.interventions.steer = {formatted("{}=1.25", acts + 1)};
  const eval::EvalReport r = test::evaluate(s.options);
  const eval::HeadEdits edits = {{acts, 0.0}, {acts + 1, 1.25}};
  REQUIRE(r.interventions);
  REQUIRE(std::abs(r.interventions->heldout.edited.rise()) > 1e-4);
  require_same(r.interventions->heldout.edited, eval::measure_edits(s.layer(), edits, s.heldout));
  REQUIRE(r.interventions->heldout.edited.ce_original == Approx(r.language->ce_original));
  REQUIRE(r.interventions->repeat.period == 7);
  const lm::Tokenizer tokenizer(s.options.model);
  require_same(
      r.interventions->repeated.edited,
      eval::measure_edits(s.layer(), edits,
                          eval::repeated_random_tokens(tokenizer, {.num_rows = 8, .period = 7})));
  REQUIRE(r.interventions->control.draws.empty());
}

TEST_CASE("the control ablates as many other heads that act on the held-out rows", "[eval]") {
  EditsSetup s;
  const std::set<int64_t> acting = s.acting();
  REQUIRE(acting.size() >= 9);
  std::vector<int64_t> heads(acting.begin(), acting.end());
  heads.resize(4);
  s.options.interventions.named_heads = {{"some", heads}};
  s.options.interventions.ablate_heads = "some";
  s.options.interventions.random_control = true;
  const eval::EvalReport r = test::evaluate(s.options);
  const eval::RandomControl& control = r.interventions->control;
  REQUIRE(r.interventions->ablated == heads);
  REQUIRE(control.num_candidates == static_cast<int64_t>(acting.size()) - 4);
  REQUIRE(control.draws.size() == 5);
  double sum = 0.0;
  for (size_t i = 0; i < 5; ++i) {
    const std::vector<int64_t>& draw = control.draws[i];
    REQUIRE(std::set<int64_t>(draw.begin(), draw.end()).size() == 4);
    for (const int64_t head : draw) {
      REQUIRE(acting.contains(head));
      REQUIRE(std::count(heads.begin(), heads.end(), head) == 0);
    }
    const eval::EditEffect expected =
        eval::measure_edits(s.layer(), eval::join_edits(draw, {}), s.heldout);
    require_same(r.interventions->heldout.control[i], expected);
    sum += expected.rise();
  }
  REQUIRE(std::set<std::vector<int64_t>>(control.draws.begin(), control.draws.end()).size() > 1);
  REQUIRE(r.interventions->heldout.control_rise() == Approx(sum / 5).margin(1e-6));
  REQUIRE(r.interventions->repeated.control.size() == 5);
  REQUIRE(test::evaluate(s.options).interventions->control.draws == control.draws);
}

TEST_CASE("ratios are those to the control's means, if these are positive", "[eval]") {
  eval::RowsEffect rows;
  rows.edited = {10, 2.0, 2.6, 0.6};
  rows.control = {{10, 2.0, 2.1, 0.1}, {10, 2.0, 2.3, 0.2}};
  REQUIRE(rows.control_rise() == Approx(0.2));
  REQUIRE(rows.control_kl() == Approx(0.15));
  REQUIRE(rows.rise_ratio() == Approx(3.0));
  REQUIRE(rows.kl_ratio() == Approx(4.0));
  rows.control = {{10, 2.0, 1.9, 0.1}};
  REQUIRE(std::isnan(rows.rise_ratio()));
  REQUIRE(rows.kl_ratio() == Approx(6.0));
}

TEST_CASE("prompts begin with BOS and come from options and a file", "[eval]") {
  EditsSetup s;
  const int64_t acts = *s.acting().begin();
  io::write_file(s.dir / "prompts.txt", "old bridge\r\n\nthe river sang");
  eval::InterventionOptions& o = s.options.interventions;
  o.steer = {formatted("{}=2", acts)};
  o.prompts = {"birds under an"};
  o.prompts_file = s.dir / "prompts.txt";
  o.prompt_tokens = 3;
  const eval::EvalReport r = test::evaluate(s.options);
  const std::vector<eval::PromptReport>& prompts = r.interventions->prompts;
  REQUIRE(prompts.size() == 3);
  REQUIRE(prompts[1].prompt == "old bridge");
  REQUIRE(prompts[2].prompt == "the river sang");
  const lm::Tokenizer tokenizer(s.options.model);
  std::vector<int32_t> ids = tokenizer.encode("birds under an", lm::SpecialTokens::kNone);
  ids.insert(ids.begin(), 0);
  REQUIRE(prompts[0].num_tokens == static_cast<int64_t>(ids.size()));
  const at::Tensor tokens_T = at::tensor(ids, at::kInt);
  const eval::PromptEffect expected =
      eval::measure_prompt(s.layer(), {{acts, 2.0}}, tokens_T, tokens_T != 0, 3);
  REQUIRE(expected.kl > 1e-6);
  REQUIRE(prompts[0].effect.kl == Approx(expected.kl).epsilon(1e-3));
  REQUIRE(prompts[0].effect.after.size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    const eval::TokenShift& shift = prompts[0].effect.after[i];
    REQUIRE(shift.token == expected.after[i].token);
    REQUIRE(shift.after == Approx(expected.after[i].after).epsilon(1e-4));
    REQUIRE(prompts[0].token_text.at(shift.token) == tokenizer.token_text(shift.token));
  }
}

TEST_CASE("a prompt that brings its own BOS gets no second one", "[eval]") {
  EditsSetup s;
  eval::InterventionOptions& o = s.options.interventions;
  o.steer = {formatted("{}=2", *s.acting().begin())};
  o.prompts = {"birds under an", "<|endoftext|>birds under an",
               "<|endoftext|><|endoftext|>birds under an"};
  const eval::EvalReport r = test::evaluate(s.options);
  const std::vector<eval::PromptReport>& prompts = r.interventions->prompts;
  REQUIRE(prompts.size() == 3);
  REQUIRE(prompts[0].effect.kl > 1e-6);
  for (const eval::PromptReport& each : prompts) {
    REQUIRE(each.num_tokens == prompts[0].num_tokens);
    REQUIRE(each.effect.kl == Approx(prompts[0].effect.kl).epsilon(1e-6));
  }
  o.prompts = {"<|endoftext|>"};
  test::require_parts(
      test::message_of<ConfigError>([&] { static_cast<void>(test::evaluate(s.options)); }),
      {"`prompt`: expected a text with tokens"});
}

TEST_CASE("the loss of prompts is that of their own tokens, each prompt alone", "[eval]") {
  EditsSetup s;
  const std::set<int64_t> acting = s.acting();
  const int64_t acts = *acting.begin();
  eval::InterventionOptions& o = s.options.interventions;
  o.ablate_heads = formatted("{}", acts);
  o.random_control = true;
  o.prompts = {"birds under an old bridge", "the river sang"};
  const eval::InterventionReport r = *test::evaluate(s.options).interventions;
  const lm::Tokenizer tokenizer(s.options.model);
  const auto effect = [&](const std::string& prompt, int64_t head) {
    std::vector<int32_t> ids = tokenizer.encode(prompt, lm::SpecialTokens::kNone);
    ids.insert(ids.begin(), 0);
    const at::Tensor tokens_BT = at::tensor(ids, at::kInt).unsqueeze(0);
    return eval::measure_edits(s.layer(), {{head, 0.0}},
                               eval::scored_rows(tokens_BT, tokens_BT != 0));
  };
  const auto require_mean = [&](const eval::EditEffect& found, int64_t head) {
    const eval::EditEffect a = effect(o.prompts[0], head), b = effect(o.prompts[1], head);
    const auto n = static_cast<double>(a.num_predictions);
    const auto m = static_cast<double>(b.num_predictions);
    REQUIRE(n > m);
    REQUIRE(found.num_predictions == a.num_predictions + b.num_predictions);
    REQUIRE(found.ce_original ==
            Approx((n * a.ce_original + m * b.ce_original) / (n + m)).epsilon(1e-6));
    REQUIRE(found.ce_edited == Approx((n * a.ce_edited + m * b.ce_edited) / (n + m)).epsilon(1e-6));
  };
  require_mean(r.prompt_text.edited, acts);
  REQUIRE(r.prompt_text.control.size() == 5);
  require_mean(r.prompt_text.control[3], r.control.draws[3].front());
}

TEST_CASE("the report holds interventions under its key and the table shows them", "[eval]") {
  EditsSetup s;
  REQUIRE_FALSE(to_json(test::evaluate(s.options)).contains("interventions"));
  const std::set<int64_t> acting = s.acting();
  eval::InterventionOptions& o = s.options.interventions;
  o.ablate_heads = formatted("{}", *acting.begin());
  o.random_control = true;
  o.prompts = {"two\nlines"};
  const eval::EvalReport r = test::evaluate(s.options);
  const io::Json json = to_json(r)["interventions"];
  REQUIRE(json["ablated_heads"] == io::Json{*acting.begin()});
  REQUIRE(json["steered_heads"].empty());
  const auto rise = json["heldout"]["rise"].get<double>();
  REQUIRE(rise == r.interventions->heldout.edited.rise());
  REQUIRE(json["heldout"]["control_rises"].size() == 5);
  REQUIRE(json["repeated_tokens"]["period"] == 7);
  REQUIRE(json["random_control"]["draws"].size() == 5);
  REQUIRE(json["prompt_text"]["control_kls"].size() == 5);
  REQUIRE(json["prompts"][0]["most_probable_before"].size() == 10);
  REQUIRE(json["prompts"][0]["most_changed"][0]["text"].is_string());
  const std::string table = eval::to_table({r});
  REQUIRE_THAT(table, Catch::Contains("interventions: 1 head ablated"));
  REQUIRE_THAT(table,
               Catch::Contains("held-out rows") && Catch::Contains("repeated, 2 x 7 tokens"));
  REQUIRE_THAT(table, Catch::Contains("seeds 0 to 4"));
  REQUIRE_THAT(table, Catch::Contains("two\u21B5lines"));
}

TEST_CASE("interventions that cannot be carried out are refused by option", "[eval]") {
  EditsSetup s;
  eval::InterventionOptions& o = s.options.interventions;
  SECTION("no edits for prompts") {
    o.prompts = {"the"};
    test::require_parts(s.refused(), {"`prompt`", "need `ablate_heads` or `steer`"});
  }
  SECTION("no edits for a control") {
    o.random_control = true;
    test::require_parts(s.refused(), {"`random_control` needs `ablate_heads`"});
  }
  SECTION("no model") {
    o.ablate_heads = "1";
    s.options.model.clear();
    test::require_parts(s.refused(), {"`ablate_heads` and `steer` need `model`"});
  }
  SECTION("a control of steered heads") {
    o.ablate_heads = "1";
    o.steer = {"2=1"};
    o.random_control = true;
    test::require_parts(s.refused(), {"`random_control`", "leave out `steer`"});
  }
  SECTION("a list without heads") {
    o.ablate_heads = " ,";
    test::require_parts(s.refused(), {"`ablate_heads`: expected at least one head, found none"});
  }
  SECTION("a head in both") {
    o.ablate_heads = "1,2";
    o.steer = {"2=1"};
    test::require_parts(s.refused(), {"found 2 in both"});
  }
  SECTION("a control of more heads than there are") {
    o.ablate_heads = formatted("0-{}", s.unit_form.shape().num_ov_heads - 1);
    o.random_control = true;
    test::require_parts(s.refused(),
                        {"`random_control`",
                         formatted("at least {}", s.unit_form.shape().num_ov_heads), "found 0"});
  }
  SECTION("prompts without text") {
    o.ablate_heads = "1";
    o.prompts = {""};
    test::require_parts(s.refused(), {"`prompt`: expected a text with tokens, found ''"});
    o.prompts.clear();
    io::write_file(s.dir / "empty.txt", "\n\n");
    o.prompts_file = s.dir / "empty.txt";
    test::require_parts(s.refused(), {"`prompts`", "empty.txt", "found none"});
    o.prompts_file.clear();
    o.prompt_tokens = 0;
    test::require_parts(s.refused(), {"`prompt_tokens`", "found 0"});
  }
}
