#include "lorsa/eval/intervene.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <limits>

#include "lorsa/core/error.h"
#include "lorsa/io/safetensors.h"
#include "support/lorsa_oracle.h"
#include "support/tensors.h"
#include "support/test.h"
#include "support/throws.h"
#include "tiny_edits.h"

using namespace lorsa;
using test::TinyEdits;

namespace {

constexpr int64_t kEditedLayer = TinyEdits::kLayer;

model::DictionaryWeights in_double(const model::Dictionary& dictionary) {
  model::DictionaryWeights w = dictionary.weights();
  for (const auto& [name, tensor] : w.named()) {
    *tensor = tensor->to(at::kDouble);
  }
  return w;
}

// Kept activations [B, T, H] of what the layer reads and writes, by the oracle.
at::Tensor activations(const model::Dictionary& dictionary,
                       const at::Tensor& in,
                       const at::Tensor& out) {
  const model::DictionaryWeights w = in_double(dictionary);
  const at::Tensor read = (dictionary.read_of(in, out)).to(at::kDouble);
  return test::oracle_activations(dictionary.shape(), w,
                                  test::oracle_z(dictionary.shape(), w, read),
                                  at::ones(read.sizes().slice(0, 2), at::kBool));
}

// The layer's output with the edits made one position and one head at a time.
at::Tensor edited_output(const model::Dictionary& dictionary,
                         const eval::HeadEdits& edits,
                         const at::Tensor& edited_BT,
                         const at::Tensor& in,
                         const at::Tensor& out) {
  const at::Tensor a_BTH = activations(dictionary, in, out);
  const at::Tensor W = dictionary.weights().W_O.to(at::kDouble);
  at::Tensor result = out.to(at::kDouble);
  for (int64_t b = 0; b < out.size(0); ++b) {
    for (int64_t t = 0; t < out.size(1); ++t) {
      for (const eval::HeadEdit& edit : edits) {
        if (edited_BT[b][t].item<bool>()) {
          result[b][t] += (edit.value - a_BTH[b][t][edit.head].item<double>()) * W[edit.head];
        }
      }
    }
  }
  return result.to(at::kFloat);
}

struct Losses {
  int64_t count = 0;
  double original = 0.0, edited = 0.0, kl = 0.0;
};

// Straight from logits, prediction by prediction.
Losses losses(const TinyEdits& s,
              const model::Dictionary& dictionary,
              const eval::HeadEdits& edits,
              const eval::ProbeRows& rows) {
  const at::NoGradGuard no_grad;
  const auto log_p = [](const at::Tensor& logits) {
    return at::log_softmax(logits.to(at::kDouble), -1);
  };
  const at::Tensor p = log_p(s.model.logits(rows.tokens_BT));
  const auto edited = [&](const at::Tensor& in, const at::Tensor& out) {
    return edited_output(dictionary, edits, rows.edited_BT, in, out);
  };
  const at::Tensor q = log_p(s.model.logits(rows.tokens_BT, {{Site{kEditedLayer}, edited}}));
  Losses sum;
  for (int64_t b = 0; b < rows.tokens_BT.size(0); ++b) {
    for (int64_t t = 1; t < rows.tokens_BT.size(1); ++t) {
      if (rows.counted_BT[b][t].item<bool>()) {
        const auto next = rows.tokens_BT[b][t].item<int64_t>();
        ++sum.count;
        sum.original -= p[b][t - 1][next].item<double>();
        sum.edited -= q[b][t - 1][next].item<double>();
        sum.kl += (p[b][t - 1].exp() * (p[b][t - 1] - q[b][t - 1])).sum().item<double>();
      }
    }
  }
  const auto n = static_cast<double>(sum.count);
  return {sum.count, sum.original / n, sum.edited / n, sum.kl / n};
}

void require_effect(const eval::EditEffect& effect, const Losses& expected) {
  REQUIRE(effect.num_predictions == expected.count);
  REQUIRE(effect.ce_original == Approx(expected.original).epsilon(1e-6));
  REQUIRE(effect.ce_edited == Approx(expected.edited).epsilon(1e-6));
  REQUIRE(effect.kl == Approx(expected.kl).epsilon(1e-4));
}

// The three heads that act most at the rows' edited positions.
std::vector<int64_t> busiest(const TinyEdits& s,
                             const model::Dictionary& dictionary,
                             const eval::ProbeRows& rows) {
  const auto layer = s.model.activations(rows.tokens_BT, {Site{kEditedLayer}});
  const at::Tensor a = activations(dictionary, layer[0].input_BTD, layer[0].output_BTD);
  const at::Tensor sum_H = (a.abs() * rows.edited_BT.unsqueeze(-1)).sum(at::IntArrayRef{0, 1});
  const at::Tensor top = std::get<1>(sum_H.topk(3));
  return {top[0].item<int64_t>(), top[1].item<int64_t>(), top[2].item<int64_t>()};
}

}  // namespace

TEST_CASE("losses equal those of logits with every head's difference added at every position",
          "[eval]") {
  at::manual_seed(61);
  const TinyEdits s;
  const auto check = [&](const model::Dictionary& dictionary) {
    const eval::ProbeRows rows = s.rows(3, 11);
    const std::vector<int64_t> heads = busiest(s, dictionary, rows);
    const eval::HeadEdits edits = {{heads[0], 0.0}, {heads[2], 1.5}, {heads[1], -0.75}};
    const Losses expected = losses(s, dictionary, edits, rows);
    REQUIRE(std::abs(expected.edited - expected.original) > 1e-3);
    require_effect(eval::measure_edits({s.model, dictionary, kEditedLayer}, edits, rows), expected);
  };
  check(s.dictionary(model::Activation::kTopK));
  check(s.dictionary(model::Activation::kTopKSigned));
  check(s.dictionary(model::Activation::kRelu));
  check(s.dictionary(model::Activation::kJumpRelu));
  check(s.sae());
}

TEST_CASE("edits do what they do in transformers with a hook that edits head by head", "[eval]") {
  const TinyEdits s;
  const io::SafetensorsReader golden(test::golden("intervene.safetensors"));
  model::DictionaryShape shape;
  shape.d_model = 24;
  shape.num_ov_heads = 24;
  shape.num_qk_heads = 4;
  shape.d_qk = 8;
  shape.top_k = 4;
  shape.rope.rotary_dim = 8;
  shape.rope.base = 10000.0;
  model::DictionaryWeights w;
  for (const std::string& name : model::weight_names(shape)) {
    w.at(name) = golden.read(name).clone();
  }
  const model::Dictionary dictionary(shape, w);
  const auto mask = [&](const char* name) { return golden.read(name).to(at::kBool); };
  const eval::ProbeRows rows{golden.read("tokens"), mask("counted"), mask("edited")};
  eval::HeadEdits edits;
  const at::Tensor head = golden.read("edit_head"), value = golden.read("edit_value");
  for (int64_t i = 0; i < head.numel(); ++i) {
    edits.push_back({head[i].item<int64_t>(), value[i].item<double>()});
  }
  const auto number = [&](const char* name) { return golden.read(name).item<double>(); };
  const eval::EditedLayer layer{s.model, dictionary, kEditedLayer};
  const eval::EditEffect effect = eval::measure_edits(layer, edits, rows);
  REQUIRE(std::abs(number("ce_edited") - number("ce_original")) > 0.01);
  REQUIRE(effect.ce_original == Approx(number("ce_original")).epsilon(1e-6));
  REQUIRE(effect.ce_edited == Approx(number("ce_edited")).epsilon(1e-6));
  REQUIRE(effect.kl == Approx(number("kl")).epsilon(1e-4));
  const auto prompt = eval::measure_prompt(layer, edits, rows.tokens_BT[0], rows.edited_BT[0], 320);
  at::Tensor before_V = at::zeros({320}, at::kDouble);
  at::Tensor after_V = at::zeros({320}, at::kDouble);
  for (const eval::TokenShift& shift : prompt.changed) {
    before_V[shift.token] = shift.before;
    after_V[shift.token] = shift.after;
  }
  REQUIRE(test::relative_error(before_V, golden.read("p_original")) < 1e-5);
  REQUIRE(test::relative_error(after_V, golden.read("p_edited")) < 1e-5);
}

TEST_CASE("a head set to its own activation changes nothing, to another value does", "[eval]") {
  at::manual_seed(62);
  const TinyEdits s;
  const model::Dictionary dictionary = s.dictionary(model::Activation::kTopK);
  eval::ProbeRows rows = s.rows(1, 9);
  const auto layer = s.model.activations(rows.tokens_BT, {Site{kEditedLayer}});
  const at::Tensor a_TH = activations(dictionary, layer[0].input_BTD, layer[0].output_BTD)[0];
  rows.edited_BT = at::arange(9).unsqueeze(0) == 6;
  const auto head = a_TH[6].argmax().item<int64_t>();
  const auto own = a_TH[6][head].item<double>();
  REQUIRE(own > 0.01);
  const eval::EditedHidden hidden =
      eval::run_edits({s.model, dictionary, kEditedLayer}, {{{head, own}}, {{head, own + 0.5}}},
                      rows.tokens_BT, rows.edited_BT);
  REQUIRE(test::relative_error(hidden.edited_BTD[0], hidden.original_BTD) < 1e-5);
  REQUIRE(test::relative_error(hidden.edited_BTD[1], hidden.original_BTD) > 1e-3);
  // Nothing before the edited position can have changed.
  REQUIRE(at::equal(hidden.edited_BTD[1].narrow(1, 0, 6), hidden.original_BTD.narrow(1, 0, 6)));
}

TEST_CASE("ablating every head leaves the Lorsa's error and b_D", "[eval]") {
  at::manual_seed(63);
  const TinyEdits s;
  const model::Dictionary dictionary = s.dictionary(model::Activation::kTopK);
  const eval::ProbeRows rows = s.rows(2, 10);
  eval::HeadEdits all;
  for (int64_t head = 0; head < dictionary.shape().num_ov_heads; ++head) {
    all.push_back({head, 0.0});
  }
  const auto hidden =
      eval::run_edits({s.model, dictionary, kEditedLayer}, {all}, rows.tokens_BT, rows.edited_BT);
  const auto without_heads = [&](const at::Tensor& in, const at::Tensor& out) {
    const at::Tensor y = dictionary.reconstruct(in).y_BTD;
    return at::where(rows.edited_BT.unsqueeze(-1), out - (y - dictionary.weights().b_D), out);
  };
  const at::Tensor expected =
      s.model.final_hidden(rows.tokens_BT, {{Site{kEditedLayer}, without_heads}});
  REQUIRE(test::relative_error(hidden.edited_BTD[0], expected) < 1e-5);
  REQUIRE(test::relative_error(hidden.original_BTD, expected) > 1e-3);
}

TEST_CASE("a head that is not kept can be steered and ablating it changes nothing", "[eval]") {
  at::manual_seed(64);
  const TinyEdits s;
  const model::Dictionary dictionary = s.dictionary(model::Activation::kTopK);
  eval::ProbeRows rows = s.rows(1, 8);
  const auto layer = s.model.activations(rows.tokens_BT, {Site{kEditedLayer}});
  const at::Tensor a_TH = activations(dictionary, layer[0].input_BTD, layer[0].output_BTD)[0];
  rows.edited_BT = at::arange(8).unsqueeze(0) == 5;
  const auto silent = (a_TH[5] == 0).nonzero()[0].item<int64_t>();
  const auto hidden =
      eval::run_edits({s.model, dictionary, kEditedLayer}, {{{silent, 0.0}}, {{silent, 0.8}}, {}},
                      rows.tokens_BT, rows.edited_BT);
  REQUIRE(at::equal(hidden.edited_BTD[0], hidden.original_BTD));
  REQUIRE(test::relative_error(hidden.edited_BTD[1], hidden.original_BTD) > 1e-3);
  REQUIRE(at::equal(hidden.edited_BTD[2], hidden.original_BTD));
}

TEST_CASE("sets measured together and rows measured in pieces give what each gives alone",
          "[eval]") {
  at::manual_seed(65);
  const TinyEdits s;
  const model::Dictionary dictionary = s.dictionary(model::Activation::kTopK);
  const eval::EditedLayer layer{s.model, dictionary, kEditedLayer};
  // 1,440 positions: more than are computed at once.
  const eval::ProbeRows rows = s.rows(120, 12);
  const std::vector<int64_t> heads = busiest(s, dictionary, rows);
  const std::vector<eval::HeadEdits> sets = {{{heads[0], 0.0}}, {{heads[1], 2.0}, {heads[2], 0.0}}};
  const std::vector<eval::EditEffect> together = eval::measure_edit_sets(layer, sets, rows);
  eval::EditMeter whole(layer, sets);
  whole.add(rows);
  REQUIRE(together.size() == 2);
  REQUIRE(std::abs(together[0].rise() - together[1].rise()) > 1e-4);
  for (size_t i = 0; i < sets.size(); ++i) {
    const eval::EditEffect alone = eval::measure_edits(layer, sets[i], rows);
    REQUIRE(together[i].num_predictions == rows.counted_BT.slice(1, 1).sum().item<int64_t>());
    REQUIRE(together[i].ce_original == alone.ce_original);
    REQUIRE(together[i].ce_edited == alone.ce_edited);
    REQUIRE(together[i].ce_edited == Approx(whole.report()[i].ce_edited).epsilon(1e-7));
    REQUIRE(together[i].kl == Approx(whole.report()[i].kl).epsilon(1e-5));
    REQUIRE(together[i].rise() == together[i].ce_edited - together[i].ce_original);
  }
}

TEST_CASE("without predictions that count means are not numbers", "[eval]") {
  at::manual_seed(66);
  const TinyEdits s;
  const model::Dictionary dictionary = s.dictionary(model::Activation::kTopK);
  eval::ProbeRows rows = s.rows(2, 5);
  rows.counted_BT.zero_();
  rows.counted_BT.select(1, 0).fill_(true);
  const eval::EditEffect effect =
      eval::measure_edits({s.model, dictionary, kEditedLayer}, {{1, 0.0}}, rows);
  REQUIRE(effect.num_predictions == 0);
  REQUIRE(std::isnan(effect.ce_original));
  REQUIRE(std::isnan(effect.rise()));
}

TEST_CASE("a prompt's next tokens are listed by probability before, after, and by change",
          "[eval]") {
  at::manual_seed(67);
  const TinyEdits s;
  const model::Dictionary dictionary = s.dictionary(model::Activation::kTopK);
  const eval::ProbeRows rows = s.rows(1, 7);
  const std::vector<int64_t> heads = busiest(s, dictionary, rows);
  const eval::HeadEdits edits = {{heads[0], 0.0}, {heads[1], 3.0}};
  const auto effect = eval::measure_prompt({s.model, dictionary, kEditedLayer}, edits,
                                           rows.tokens_BT[0], rows.edited_BT[0], 6);
  const auto probability = [&](const at::Tensor& logits) {
    return at::softmax(logits[0][6].to(at::kDouble), 0);
  };
  const at::Tensor p = probability(s.model.logits(rows.tokens_BT));
  const auto edited = [&](const at::Tensor& in, const at::Tensor& out) {
    return edited_output(dictionary, edits, rows.edited_BT, in, out);
  };
  const at::Tensor q = probability(s.model.logits(rows.tokens_BT, {{Site{kEditedLayer}, edited}}));
  const auto require_list = [&](const std::vector<eval::TokenShift>& list, const at::Tensor& by) {
    const at::Tensor best = std::get<1>(by.topk(6));
    REQUIRE(list.size() == 6);
    for (int64_t i = 0; i < 6; ++i) {
      const eval::TokenShift& shift = list[static_cast<size_t>(i)];
      REQUIRE(shift.token == best[i].item<int64_t>());
      REQUIRE(shift.before == Approx(p[shift.token].item<double>()).epsilon(1e-5));
      REQUIRE(shift.after == Approx(q[shift.token].item<double>()).epsilon(1e-4));
    }
  };
  require_list(effect.before, p);
  require_list(effect.after, q);
  require_list(effect.changed, (q - p).abs());
  const double kl = (p * (p.log() - q.log())).sum().item<double>();
  REQUIRE(kl > 1e-4);
  REQUIRE(effect.kl == Approx(kl).epsilon(1e-3));
  const auto all = eval::measure_prompt({s.model, dictionary, kEditedLayer}, edits,
                                        rows.tokens_BT[0], rows.edited_BT[0], 1000);
  REQUIRE(all.after.size() == static_cast<size_t>(s.model.config().vocabulary_size));
}

TEST_CASE("edits and masks that do not fit are refused", "[eval]") {
  at::manual_seed(68);
  const TinyEdits s;
  const model::Dictionary dictionary = s.dictionary(model::Activation::kTopK);
  const eval::EditedLayer layer{s.model, dictionary, kEditedLayer};
  const eval::ProbeRows rows = s.rows(1, 5);
  const auto refused = [&](const eval::HeadEdits& edits) {
    return test::message_of<ConfigError>([&] { (void)eval::measure_edits(layer, edits, rows); });
  };
  const std::string last = formatted("{}", dictionary.shape().num_ov_heads - 1);
  test::require_parts(refused({{dictionary.shape().num_ov_heads, 0.0}}),
                      {"from 0 to " + last, "found"});
  test::require_parts(refused({{-1, 0.0}}), {"found -1"});
  test::require_parts(refused({{2, 0.0}, {2, 1.0}}), {"head 2 is edited twice"});
  test::require_parts(refused({{2, std::numeric_limits<double>::infinity()}}), {"head 2", "inf"});
  eval::ProbeRows wrong = rows;
  wrong.edited_BT = wrong.edited_BT.narrow(1, 0, 4);
  REQUIRE_THROWS_AS(eval::measure_edits(layer, {{1, 0.0}}, wrong), ShapeError);
  wrong = rows;
  wrong.counted_BT = wrong.counted_BT.to(at::kInt);
  REQUIRE_THROWS_AS(eval::measure_edits(layer, {{1, 0.0}}, wrong), ShapeError);
}
