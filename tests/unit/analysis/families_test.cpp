#include "lorsa/analysis/families.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "analysis/probes.h"
#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "support/lorsa_oracle.h"
#include "support/test.h"
#include "support/throws.h"

namespace lorsa {
namespace {

using analysis::FamilyReport;
using analysis::FamilyScores;

/// The tiny language model with room for the probes' rows, and a random Lorsa for its layer 1.
class Tiny {
 public:
  explicit Tiny(model::Activation activation = model::Activation::kTopK) {
    at::manual_seed(11);
    const auto from = test::golden("collect/model");
    for (const char* file : {"model.safetensors", "tokenizer.json", "tokenizer_config.json"}) {
      std::filesystem::copy_file(from / file, dir / file);
    }
    io::Json config = io::read_json(from / "config.json");
    config["max_position_embeddings"] = 4096;
    io::write_json(dir / "config.json", config);
    shape.d_model = 24;
    shape.num_ov_heads = 30;
    shape.num_qk_heads = 5;
    shape.d_qk = 6;
    shape.top_k = 4;
    shape.activation = activation;
    shape.attn_scale = 0.7;
    shape.rope.rotary_dim = 6;
    weights = test::random_weights(shape, at::kFloat);
    options.num_rows = 3;
    options.num_operands = 3;
  }

  [[nodiscard]] FamilyReport score() const {
    const lm::LanguageModel language(dir.path(), at::kCPU);
    return analysis::score_families(language, lm::Tokenizer(dir.path()),
                                    model::Dictionary(shape, weights), 1, options,
                                    Progress::Visible::kNo);
  }

  /// Attention pattern of a head on one row, [T, T], double, by the formula.
  [[nodiscard]] at::Tensor pattern(const at::Tensor& x_1TD, int64_t head) const {
    const int64_t s = head / shape.group();
    const auto rows = [&](const at::Tensor& W, const at::Tensor& b) {
      const at::Tensor W_ED = W.narrow(0, s * shape.d_qk, shape.d_qk).to(at::kDouble);
      return test::oracle_rope(at::matmul(x_1TD, W_ED.t()) + b[s].to(at::kDouble), shape.rope);
    };
    const at::Tensor score =
        at::matmul(rows(weights.W_Q, weights.b_Q), rows(weights.W_K, weights.b_K).transpose(1, 2)) /
        shape.attn_scale;
    const int64_t T = x_1TD.size(1);
    return at::softmax(score.masked_fill(at::ones({T, T}, at::kBool).triu(1),
                                         -std::numeric_limits<double>::infinity()),
                       -1)[0];
  }

  test::TempDir dir;
  model::DictionaryShape shape;
  model::DictionaryWeights weights;
  analysis::ProbeOptions options;
};

/// Scores of one probe, position by position and head by head, in double.
struct Expected {
  std::vector<double> on_answers, total;
  std::vector<int64_t> acts;
  std::vector<std::vector<double>> value;  // [query][head]
};

Expected expect(const Tiny& tiny, const analysis::Probe& probe) {
  const lm::LanguageModel language(tiny.dir.path(), at::kCPU);
  const auto H = static_cast<size_t>(tiny.shape.num_ov_heads);
  Expected e{std::vector<double>(H), std::vector<double>(H), std::vector<int64_t>(H), {}};
  model::DictionaryWeights w = tiny.weights;
  for (const auto& [name, tensor] : w.named()) {
    *tensor = tensor->to(at::kDouble);
  }
  for (int64_t row = 0; row < probe.tokens_BT.size(0); ++row) {
    const at::Tensor x =
        language.activations(probe.tokens_BT.narrow(0, row, 1), {Site{1}})[0].input_BTD.to(
            at::kDouble);
    const at::Tensor z = test::oracle_z(tiny.shape, w, x);
    const at::Tensor a =
        test::oracle_activations(tiny.shape, w, z, at::ones({1, x.size(1)}, at::kBool))[0];
    for (const analysis::ProbeQuery& query : probe.queries) {
      if (query.row != row) {
        continue;
      }
      e.value.emplace_back(H);
      for (size_t h = 0; h < H; ++h) {
        const auto head = static_cast<int64_t>(h);
        const double act = a[query.position][head].item<double>();
        e.value.back()[h] = act;
        if (act == 0.0) {
          continue;
        }
        ++e.acts[h];
        const at::Tensor v = at::matmul(x, w.W_V[head])[0] + w.b_V[head];
        const at::Tensor share =
            (tiny.pattern(x, head)[query.position] * v * (act < 0 ? -1.0 : 1.0)).clamp_min(0.0);
        e.total[h] += share.sum().item<double>();
        for (const int32_t source : query.sources) {
          e.on_answers[h] += share[source].item<double>();
        }
      }
    }
  }
  return e;
}

const FamilyScores& named(const FamilyReport& report, const std::string& family) {
  for (const FamilyScores& scores : report.families) {
    if (scores.family == family) {
      return scores;
    }
  }
  throw Error("no family " + family);
}

void require_scores(const FamilyScores& found, const Expected& expected) {
  REQUIRE(found.acts_H == expected.acts);
  int64_t num_scored = 0;
  for (size_t h = 0; h < expected.acts.size(); ++h) {
    if (expected.acts[h] < analysis::kFewestActs ||
        static_cast<double>(expected.acts[h]) <
            analysis::kLeastActing * static_cast<double>(found.num_positions)) {
      REQUIRE(std::isnan(found.score_H[h]));
      continue;
    }
    ++num_scored;
    REQUIRE(found.score_H[h] ==
            Approx(expected.on_answers[h] / expected.total[h]).epsilon(1e-4).margin(1e-6));
  }
  REQUIRE(num_scored > 3);
  REQUIRE(found.num_scored() == num_scored);
}

}  // namespace

TEST_CASE("scores are the share of the positive z-pattern on the answers", "[analysis]") {
  for (const auto activation : {model::Activation::kTopK, model::Activation::kTopKSigned}) {
    const Tiny tiny(activation);
    const FamilyReport report = tiny.score();
    const lm::Tokenizer tokenizer(tiny.dir.path());
    const auto random = analysis::random_token_probes(tokenizer, tiny.options);
    REQUIRE(random[0].family == "induction");
    require_scores(named(report, "induction"), expect(tiny, random[0]));
    require_scores(named(report, "attention_sink"), expect(tiny, random[3]));
    const auto text = analysis::text_probes(tokenizer, tiny.options);
    REQUIRE(text[2].family == "successor");
    require_scores(named(report, "successor"), expect(tiny, text[2]));
    std::vector<std::string> names;
    for (const FamilyScores& family : report.families) {
      names.push_back(family.family);
    }
    REQUIRE(names == analysis::family_names());
  }
}

TEST_CASE("operand plots show the activations of the best arithmetic heads", "[analysis]") {
  const Tiny tiny;
  const FamilyReport report = tiny.score();
  const lm::Tokenizer tokenizer(tiny.dir.path());
  const Expected expected = expect(tiny, analysis::arithmetic_probe(tokenizer, tiny.options).probe);
  const FamilyScores& arithmetic = named(report, "arithmetic");
  require_scores(arithmetic, expected);
  REQUIRE(!report.plots.empty());
  REQUIRE(report.plots.size() % 3 == 0);
  const size_t above = arithmetic.heads_above(arithmetic.chance).size();
  REQUIRE(report.plots.size() / 3 == std::min<size_t>(8, above));
  REQUIRE(
      report.plots[0].score ==
      *std::max_element(arithmetic.score_H.begin(), arithmetic.score_H.end(),
                        [](double a, double b) { return std::isnan(a) ? !std::isnan(b) : a < b; }));
  const char* const signs[] = {"+", "-", "*"};
  for (size_t i = 0; i < report.plots.size(); ++i) {
    const analysis::OperandPlot& plot = report.plots[i];
    REQUIRE(plot.sign == signs[i % 3]);
    REQUIRE(plot.operands == std::vector<int64_t>{0, 49, 99});
    REQUIRE(plot.score > arithmetic.chance);
    for (size_t a = 0; a < 3; ++a) {
      for (size_t b = 0; b < 3; ++b) {
        const double value =
            expected.value[(i % 3) * 9 + a * 3 + b][static_cast<size_t>(plot.head)];
        REQUIRE(static_cast<double>(plot.activation[a][b]) == Approx(value).margin(1e-4));
      }
    }
  }
}

TEST_CASE("a family holds the heads above half, best first", "[analysis]") {
  FamilyScores scores;
  scores.family = "induction";
  const double none = std::numeric_limits<double>::quiet_NaN();
  scores.score_H = {0.5, 0.9, none, 0.51, 0.9, 1.0};
  scores.acts_H = {4, 5, 0, 7, 8, 9};
  scores.num_positions = 10;
  REQUIRE(scores.heads() == std::vector<int64_t>{5, 1, 4, 3});
  REQUIRE(scores.num_scored() == 5);
  FamilyReport report;
  report.families = {scores};
  report.group = 2;
  report.closest_mhsa_S = {7, 4, 4};
  REQUIRE(report.named_heads().at("induction") == scores.heads());
  REQUIRE(report.by_head()[1].at("induction") == 0.9);
  REQUIRE(report.by_head()[2].empty());
  const io::Json json = to_json(report);
  const io::Json& family = json.at("families").at("probes")[0];
  REQUIRE(family.at("num_heads") == 4);
  REQUIRE(family.at("num_scored") == 5);
  REQUIRE(family.at("heads")[0] ==
          io::Json{{"head", 5}, {"score", 1.0}, {"share_of_positions", 0.9}});
  REQUIRE(family.at("closest_mhsa_heads")[0] == io::Json{{"mhsa_head", 4}, {"num_heads", 3}});
  const std::vector<int64_t> histogram = json.at("families").at("scores_histogram").at("induction");
  REQUIRE(histogram.size() == 20);
  REQUIRE(histogram[10] == 2);  // 0.5 and 0.51
  REQUIRE(histogram[18] == 2);
  REQUIRE(histogram[19] == 1);
  REQUIRE_THAT(to_table(report), Catch::Contains("4:3 7:1"));
}

TEST_CASE("an SAE has no head families", "[analysis]") {
  Tiny tiny;
  tiny.shape.kind = "sae";
  tiny.shape.num_qk_heads = 0;
  tiny.shape.d_qk = 0;
  tiny.shape.rope.rotary_dim = 0;
  tiny.weights = test::random_weights(tiny.shape, at::kFloat);
  test::require_parts(test::message_of<ConfigError>([&] { static_cast<void>(tiny.score()); }),
                      {"SAE"});
}

}  // namespace lorsa
