#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <string>

#include "lorsa/data/cache_writer.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/model/checkpoint.h"
#include "support/lorsa_oracle.h"
#include "support/test.h"
#include "support/tiny_cache.h"
#include "unit/eval/eval_call.h"

namespace lorsa::test {

inline constexpr int64_t kLayer = 1;
inline constexpr int64_t kContext = 12;

/// A cache of the tiny golden model's layer 1 and a Lorsa for it.
struct Setup {
  test::TempDir dir;
  lm::LanguageModel model{test::golden("lm/tiny-plain"), c10::Device("cpu")};
  at::Tensor tokens_BT, scored_BT;

  Setup() {
    at::manual_seed(51);
    tokens_BT = at::randint(3, 90, {10, kContext}, at::kInt);
    tokens_BT.select(1, 0).fill_(1);
    tokens_BT[9][6] = 1;
    scored_BT = tokens_BT != 1;
    data::Manifest plan = test::tiny_plan(model.config().d_model, kContext);
    plan.weights_sha256 = model.weights_sha256();
    plan.site.layer = kLayer;
    plan.unscored_ids = {1};
    const kernels::Mhsa layer = model.attention(kLayer);
    data::CacheWriter writer(dir / "cache", plan, layer, 100);
    const auto activations = model.activations(tokens_BT, {Site{kLayer}});
    data::RowBlock rows{
        activations[0].input_BTD, activations[0].output_BTD, tokens_BT, scored_BT, {}, {}};
    for (int64_t row = 0; row < 10; ++row) {
      rows.document.push_back(row);
      rows.heldout.push_back(row >= 6 ? 1 : 0);
    }
    writer.append(rows);
    writer.finish();
  }

  [[nodiscard]] model::Dictionary exact() const {
    return test::exact_lorsa(model.attention(kLayer));
  }

  /// A call that judges it alone, with the language model.
  [[nodiscard]] EvalCall save(const model::Dictionary& dictionary,
                              const std::string& name = "checkpoint") const {
    model::CheckpointInfo info;
    info.model_name = "tiny";
    info.weights_sha256 = model.weights_sha256();
    info.site.layer = kLayer;
    info.input_convention = "rms_normalized";
    model::save_checkpoint(dir / name, dictionary, info);
    EvalCall options;
    options.checkpoint = dir / name;
    options.cache = dir / "cache";
    options.model = test::golden("lm/tiny-plain");
    options.pass.batch_sequences = 3;
    options.pass.progress = Progress::Visible::kNo;
    return options;
  }

  using Replace = std::function<at::Tensor(const at::Tensor&, const at::Tensor&)>;

  // Mean cross-entropy over the held-out rows straight from logits(), with `edit` at scored
  // positions.
  [[nodiscard]] double cross_entropy(const Replace& edit) const {
    const at::NoGradGuard no_grad;
    const at::Tensor tokens = tokens_BT.narrow(0, 6, 4);
    const at::Tensor logits = model.logits(tokens, {{Site{kLayer}, edit}});
    double sum = 0.0;
    int64_t count = 0;
    for (int64_t b = 0; b < 4; ++b) {
      for (int64_t t = 0; t + 1 < kContext; ++t) {
        const auto next = tokens[b][t + 1].item<int64_t>();
        if (next == 1) {
          continue;
        }
        const at::Tensor row = logits[b][t].to(at::kDouble);
        sum += (at::logsumexp(row, 0) - row[next]).item<double>();
        ++count;
      }
    }
    return sum / static_cast<double>(count);
  }
};

/// The layer's QK heads with random output directions, three heads at a position.
inline model::Dictionary random_lorsa(const Setup& s) {
  const model::Dictionary exact = s.exact();
  model::DictionaryShape shape = exact.shape();
  shape.activation = model::Activation::kTopK;
  shape.top_k = 3;
  model::DictionaryWeights w = exact.weights();
  w.W_O = at::randn_like(w.W_O) * 0.3;
  return model::Dictionary(shape, w);
}

}  // namespace lorsa::test
