#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "lorsa/io/safetensors.h"
#include "unit/analysis/tiny_dump.h"

using namespace lorsa;
using test::TinyDump;

namespace {

/// z of head h at (row, position) by source, in unit form, [T].
at::Tensor expected_pattern(const TinyDump& tiny, int64_t row, int64_t position, int64_t h) {
  // The oracle gives z for a whole row; sources are told apart by masking the values: z is linear
  // in v, so the share of source j is z without it taken from z.
  const model::DictionaryWeights w = tiny.folded();
  const int64_t s = h / tiny.shape.group();
  const at::Tensor x_BTD = tiny.input_RTD.narrow(0, row, 1).to(at::kDouble);
  const auto project = [&](const at::Tensor& weight, const at::Tensor& bias) {
    return test::oracle_rope(
        at::matmul(x_BTD, weight.narrow(0, s * tiny.shape.d_qk, tiny.shape.d_qk).t()) + bias[s],
        tiny.shape.rope)[0];
  };
  const at::Tensor q_TE = project(w.W_Q, w.b_Q);
  const at::Tensor k_TE = project(w.W_K, w.b_K);
  const int64_t live = position + 1;
  const at::Tensor A =
      at::softmax(at::mv(k_TE.narrow(0, 0, live), q_TE[position]) / tiny.shape.attn_scale, 0);
  const at::Tensor v = (at::mv(x_BTD[0], w.W_V[h]) + w.b_V[h]).narrow(0, 0, live);
  return A * v * w.W_O[h].norm();
}

void check_context(const TinyDump& tiny,
                   const io::Json& context,
                   const at::Tensor& a_RT,
                   int64_t head) {
  const auto row = context.at("row").get<int64_t>();
  const auto position = context.at("position").get<int64_t>();
  const auto first = context.at("first").get<int64_t>();
  const auto value = context.at("value").get<double>();
  REQUIRE(value == Approx(a_RT[row][position].item<double>()).epsilon(1e-4));
  REQUIRE(context.at("document").get<int64_t>() == 10 * row);
  REQUIRE(context.at("heldout").get<bool>() == (row % 4 == 3));
  REQUIRE(context.at("tokens").size() == 8);
  for (int64_t i = 0; i < 8; ++i) {
    const auto index = static_cast<size_t>(i);
    REQUIRE(context.at("tokens")[index].get<std::string>() ==
            TinyDump::token_text(tiny.tokens_RT[row][first + i].item<int64_t>()));
    REQUIRE(context.at("activations")[index].get<double>() ==
            Approx(a_RT[row][first + i].item<double>()).epsilon(1e-4).margin(1e-9));
  }
  if (position + 1 < TinyDump::kContext) {
    REQUIRE(context.at("next_token").get<std::string>() ==
            TinyDump::token_text(tiny.tokens_RT[row][position + 1].item<int64_t>()));
  } else {
    REQUIRE(context.at("next_token").is_null());
  }
  if (context.at("sample") == "non_firing") {
    REQUIRE(value == 0.0);
    REQUIRE(tiny.scored_RT[row][position].item<bool>());
    REQUIRE(a_RT[row].narrow(0, first, 8).count_nonzero().item<int64_t>() == 0);
    REQUIRE(context.at("z_pattern").empty());
    return;
  }
  const at::Tensor pattern = expected_pattern(tiny, row, position, head);
  double sum = context.at("z_rest").get<double>();
  for (const io::Json& source : context.at("z_pattern")) {
    const auto weight = source[1].get<double>();
    REQUIRE(weight ==
            Approx(pattern[source[0].get<int64_t>()].item<double>()).epsilon(1e-3).margin(1e-6));
    sum += weight;
  }
  REQUIRE(sum == Approx(value).epsilon(1e-4));
}

void check_head(const TinyDump& tiny, const io::Json& head, const at::Tensor& a_RTH) {
  const auto h = head.at("head").get<int64_t>();
  const at::Tensor a_RT = a_RTH.select(2, h);
  const at::Tensor scored = a_RT.abs() * tiny.scored_RT;
  const auto count = (scored != 0).sum().item<int64_t>();
  REQUIRE(head.at("qk_head").get<int64_t>() == h / 20);
  REQUIRE(head.at("count").get<int64_t>() == count);
  REQUIRE(head.at("rate").get<double>() ==
          Approx(static_cast<double>(count) / tiny.scored_RT.sum().item<double>()).epsilon(1e-4));
  REQUIRE(head.at("max").get<double>() == Approx(scored.max().item<double>()).epsilon(1e-4));
  int64_t in_histogram = 0;
  for (const io::Json& bin : head.at("histogram").at("counts")) {
    in_histogram += bin.get<int64_t>();
  }
  REQUIRE(in_histogram == count);

  const at::Tensor peaks_R = scored.amax(1);
  const auto expected = std::min<int64_t>(4, (peaks_R != 0).sum().item<int64_t>());
  const std::vector<io::Json> top = test::contexts_of(head, "top");
  REQUIRE(static_cast<int64_t>(top.size()) == expected);
  const at::Tensor best = std::get<0>(peaks_R.sort(int64_t{0}, /*descending=*/true));
  std::set<int64_t> rows;
  for (int64_t i = 0; i < expected; ++i) {
    const io::Json& context = top[static_cast<size_t>(i)];
    REQUIRE(std::abs(context.at("value").get<double>()) ==
            Approx(best[i].item<double>()).epsilon(1e-4));
    rows.insert(context.at("row").get<int64_t>());
    check_context(tiny, context, a_RT, h);
  }
  REQUIRE(static_cast<int64_t>(rows.size()) == expected);

  // All activations are candidates where there are no more than 18.
  const std::vector<io::Json> quantile = test::contexts_of(head, "quantile");
  REQUIRE(static_cast<int64_t>(quantile.size()) <= std::min<int64_t>(count, 3));
  REQUIRE((count > 18 || static_cast<int64_t>(quantile.size()) == std::min<int64_t>(count, 3)));
  for (const io::Json& context : quantile) {
    check_context(tiny, context, a_RT, h);
    const double value = std::abs(context.at("value").get<double>());
    // What is as large to the rounding of the file may count or not.
    const auto smaller_than = [&](double size) {
      return (scored > 0).logical_and(scored < size).sum().item<double>() /
             static_cast<double>(count);
    };
    const double slack = count > 18 ? 0.25 : 1e-4;
    REQUIRE(context.at("quantile").get<double>() > smaller_than(value * (1 - 1e-5)) - slack);
    REQUIRE(context.at("quantile").get<double>() < smaller_than(value * (1 + 1e-5)) + slack);
  }
  const std::vector<io::Json> quiet = test::contexts_of(head, "non_firing");
  REQUIRE((count > 0 || quiet.size() == 2));
  for (const io::Json& context : quiet) {
    check_context(tiny, context, a_RT, h);
  }
  REQUIRE(head.at("contexts").size() == top.size() + quantile.size() + quiet.size());
}

/// The record's shares, largest first, against least squares: the share of a direction in a space
/// is 1 minus what the best combination of the space's rows leaves of it.
void check_overlap(const TinyDump& tiny, const io::Json& head) {
  const at::Tensor w_D = tiny.folded().W_O[head.at("head").get<int64_t>()];
  const at::Tensor unit_D = w_D / w_D.norm();
  double last = 1.0;
  REQUIRE(head.at("mhsa_overlap").size() == 3);
  std::set<int64_t> named;
  for (const io::Json& entry : head.at("mhsa_overlap")) {
    const at::Tensor W_DA = tiny.attention.W_O[entry[0].get<int64_t>()].t().to(at::kDouble);
    const at::Tensor best_A = at::mv(at::pinverse(W_DA), unit_D);
    const auto left = (unit_D - at::mv(W_DA, best_A)).square().sum().item<double>();
    REQUIRE(entry[1].get<double>() == Approx(1.0 - left).epsilon(1e-4).margin(1e-6));
    REQUIRE(entry[1].get<double>() <= last);
    last = entry[1].get<double>();
    named.insert(entry[0].get<int64_t>());
  }
  for (int64_t n = 0; n < TinyDump::kMhsaHeads; ++n) {
    const at::Tensor W_DA = tiny.attention.W_O[n].t().to(at::kDouble);
    const at::Tensor left_D = unit_D - at::mv(W_DA, at::mv(at::pinverse(W_DA), unit_D));
    const double share = 1.0 - left_D.square().sum().item<double>();
    REQUIRE((named.count(n) == 1 || share <= last * (1 + 1e-5)));
  }
}

}  // namespace

TEST_CASE("a dump says of every head what a loop over everything finds", "[analysis]") {
  for (const auto activation : {model::Activation::kTopK, model::Activation::kTopKSigned}) {
    const TinyDump tiny(activation);
    const analysis::DumpReport report = analysis::dump_heads(tiny.options());
    const std::vector<io::Json> heads = test::read_heads(tiny.dir / "dump");
    REQUIRE(heads.size() == 140);
    const at::Tensor a_RTH = tiny.activations();
    int64_t firing = 0;
    for (size_t h = 0; h < heads.size(); ++h) {
      INFO("head " << h);
      REQUIRE(heads[h].at("head").get<size_t>() == h);
      check_head(tiny, heads[h], a_RTH);
      check_overlap(tiny, heads[h]);
      REQUIRE(heads[h].at("layer") == 1);
      REQUIRE(!heads[h].contains("family_scores"));
      firing += heads[h].at("count").get<int64_t>() > 0 ? 1 : 0;
    }
    REQUIRE(heads[9].at("contexts").size() == 2);  // non-firing
    REQUIRE(report.peak_bytes > report.state_bytes);
    REQUIRE(firing > 50);
    REQUIRE(report.num_firing_heads == firing);
    REQUIRE(report.num_tokens == TinyDump::kRows * TinyDump::kContext);
    REQUIRE(report.num_scored_tokens == tiny.scored_RT.sum().item<int64_t>());
    REQUIRE(std::filesystem::exists(report.explorer));
  }
}

TEST_CASE("logit effects are the extremes of gain times unembedding", "[analysis]") {
  const TinyDump tiny;
  static_cast<void>(analysis::dump_heads(tiny.options()));
  const std::vector<io::Json> heads = test::read_heads(tiny.dir / "dump");
  const io::SafetensorsReader file(tiny.dir / "model" / "model.safetensors");
  const at::Tensor gain = file.read("model.norm.weight").to(at::kDouble);
  const at::Tensor W_VD = file.read("lm_head.weight").to(at::kDouble);
  const at::Tensor W_O = tiny.folded().W_O;
  for (size_t h = 0; h < heads.size(); h += 13) {
    const at::Tensor d = W_O[static_cast<int64_t>(h)];
    const at::Tensor logits = at::mv(W_VD, d / d.norm() * gain);
    const at::Tensor order = logits.argsort(int64_t{0}, /*descending=*/true);
    const io::Json& effect = heads[h].at("logit_effect");
    REQUIRE(effect.at("top").size() == 6);
    REQUIRE(effect.at("bottom").size() == 6);
    for (int64_t i = 0; i < 6; ++i) {
      const auto check = [&](const io::Json& entry, int64_t token) {
        REQUIRE(entry[0].get<int64_t>() == token);
        REQUIRE(entry[1].get<std::string>() == TinyDump::token_text(token));
        REQUIRE(entry[2].get<double>() == Approx(logits[token].item<double>()).epsilon(1e-3));
      };
      const auto place = static_cast<size_t>(i);
      check(effect.at("top")[place], order[i].item<int64_t>());
      check(effect.at("bottom")[place], order[96 - i].item<int64_t>());
    }
  }
}

TEST_CASE("the index agrees with the shards", "[analysis]") {
  const TinyDump tiny;
  static_cast<void>(analysis::dump_heads(tiny.options()));
  const io::Json index = io::read_json(tiny.dir / "dump" / "index.json");
  const std::vector<io::Json> heads = test::read_heads(tiny.dir / "dump");
  REQUIRE(index.at("schema") == "lorsa-dump-1");
  REQUIRE(index.at("language_model").at("layer") == 1);
  REQUIRE(index.at("shards").size() == 2);
  REQUIRE(index.at("heads").size() == heads.size());
  for (size_t h = 0; h < heads.size(); ++h) {
    const io::Json& entry = index.at("heads")[h];
    REQUIRE(entry.at("head") == heads[h].at("head"));
    REQUIRE(entry.at("count") == heads[h].at("count"));
    REQUIRE(entry.at("max").get<double>() ==
            Approx(heads[h].at("max").get<double>()).epsilon(1e-5));
    REQUIRE(entry.at("top_tokens")[0] == heads[h].at("logit_effect").at("top")[0][1]);
    REQUIRE(entry.at("layer") == 1);
    REQUIRE(entry.contains("peak_token") == !test::contexts_of(heads[h], "top").empty());
    if (entry.contains("peak_token")) {
      const io::Json& best = heads[h].at("contexts")[0];
      const auto offset = best.at("position").get<size_t>() - best.at("first").get<size_t>();
      REQUIRE(entry.at("peak_token") == best.at("tokens")[offset]);
    }
  }
}

TEST_CASE("a dump does not depend on how rows are batched", "[analysis]") {
  const TinyDump tiny;
  static_cast<void>(analysis::dump_heads(tiny.options()));
  analysis::DumpOptions other = tiny.options();
  other.batch_rows = 9;
  other.out = tiny.dir / "other";
  static_cast<void>(analysis::dump_heads(other));
  const auto a = test::read_heads(tiny.dir / "dump");
  const auto b = test::read_heads(tiny.dir / "other");
  REQUIRE(a.size() == b.size());
  for (size_t h = 0; h < a.size(); ++h) {
    REQUIRE(a[h].at("count") == b[h].at("count"));
    REQUIRE(a[h].at("contexts").size() == b[h].at("contexts").size());
    for (size_t i = 0; i < a[h].at("contexts").size(); ++i) {
      REQUIRE(a[h].at("contexts")[i].at("row") == b[h].at("contexts")[i].at("row"));
    }
  }
}

TEST_CASE("max_rows reads rows spread over the cache", "[analysis]") {
  const TinyDump tiny;
  analysis::DumpOptions few = tiny.options();
  few.max_rows = 3;
  REQUIRE(analysis::dump_heads(few).num_tokens == 3 * TinyDump::kContext);
  std::set<int64_t> rows;
  for (const io::Json& head : test::read_heads(tiny.dir / "dump")) {
    for (const io::Json& context : head.at("contexts")) {
      rows.insert(context.at("row").get<int64_t>());
    }
  }
  REQUIRE(rows == std::set<int64_t>{0, 3, 6});
}
