#pragma once

#include <ATen/ATen.h>

#include "lorsa/eval/intervene.h"
#include "lorsa/lm/language_model.h"
#include "support/lorsa_oracle.h"
#include "support/test.h"

namespace lorsa::test {

/// The tiny golden language model with a tokenizer, and Lorsas that read its layer 1 with the
/// layer's own QK heads, in unit form.
struct TinyEdits {
  static constexpr int64_t kLayer = 1;

  lm::LanguageModel model{golden("collect/model"), c10::Device("cpu")};

  [[nodiscard]] model::Dictionary dictionary(model::Activation activation) const {
    const model::Dictionary exact = exact_lorsa(model.attention(kLayer));
    model::DictionaryShape shape = exact.shape();
    shape.activation = activation;
    shape.top_k = 5;
    model::DictionaryWeights w = exact.weights();
    w.W_O = at::randn_like(w.W_O) * 0.4;
    w.b_D = at::randn_like(w.b_D) * 0.1;
    if (activation == model::Activation::kJumpRelu) {
      w.log_threshold = at::full({shape.num_ov_heads}, -1.0);
    }
    return model::Dictionary(shape, w).in_unit_form();
  }

  [[nodiscard]] model::Dictionary sae() const {
    model::DictionaryShape shape;
    shape.kind = "sae";
    shape.d_model = model.config().d_model;
    shape.num_ov_heads = 40;
    shape.top_k = 5;
    return model::Dictionary(shape, random_weights(shape, at::kFloat)).in_unit_form();
  }

  /// Random rows that begin with BOS; predictions that count and positions to edit are drawn too.
  [[nodiscard]] eval::ProbeRows rows(int64_t B, int64_t T) const {
    eval::ProbeRows rows;
    rows.tokens_BT = at::randint(1, model.config().vocabulary_size, {B, T}, at::kInt);
    rows.tokens_BT.select(1, 0).zero_();
    rows.counted_BT = at::rand({B, T}) < 0.8;
    rows.edited_BT = at::rand({B, T}) < 0.7;
    return rows;
  }
};

}  // namespace lorsa::test
