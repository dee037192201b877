#include "lorsa/eval/intervene.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "eval/next_tokens.h"
#include "lorsa/core/error.h"
#include "lorsa/core/stop_signal.h"

namespace lorsa::eval {
namespace {

/// Positions that measure_edit_sets() computes at once: the untouched final states and those of
/// every set are in memory together.
constexpr int64_t kPositionsAtOnce = 1024;

/// A set of edits as tensors: n heads, what they are set to and what they write.
class EditSet {
 public:
  EditSet(const model::Dictionary& dictionary, const HeadEdits& edits) {
    const int64_t num_heads = dictionary.shape().num_ov_heads;
    const auto n = static_cast<int64_t>(edits.size());
    // Heads that are not edited share a place behind the others.
    at::Tensor place_H = at::full({num_heads}, n, at::kLong);
    at::Tensor head_n = at::empty({n}, at::kLong);
    at::Tensor value_n = at::empty({n}, at::kDouble);
    for (int64_t i = 0; i < n; ++i) {
      const HeadEdit& edit = edits[static_cast<size_t>(i)];
      LORSA_CHECK(edit.head >= 0 && edit.head < num_heads, ConfigError,
                  "edits: expected heads from 0 to {}, found {}", num_heads - 1, edit.head);
      LORSA_CHECK(std::isfinite(edit.value), ConfigError,
                  "edits: head {}: expected a finite value, found {}", edit.head, edit.value);
      int64_t& place = place_H.mutable_data_ptr<int64_t>()[edit.head];
      LORSA_CHECK(place == n, ConfigError, "edits: head {} is edited twice", edit.head);
      place = i;
      head_n.mutable_data_ptr<int64_t>()[i] = edit.head;
      value_n.mutable_data_ptr<double>()[i] = edit.value;
    }
    const at::Tensor& W_HD = dictionary.weights().W_O;
    place_H_ = place_H.to(W_HD.device());
    value_n_ = value_n.to(W_HD.device(), W_HD.scalar_type());
    W_nD_ = W_HD.index_select(0, head_n.to(W_HD.device()));
  }

  /// sum over edited heads (value - a_h) W_O[h], [P, D].
  [[nodiscard]] at::Tensor change(const kernels::TopK& kept) const {
    const int64_t n = value_n_.size(0);
    const at::Tensor place_PK = place_H_.index({kept.head_PK.to(at::kLong)});
    const at::Tensor own_Pn = at::zeros({place_PK.size(0), n + 1}, value_n_.options())
                                  .scatter_add_(1, place_PK, kept.value_PK)
                                  .narrow(1, 0, n);
    return at::mm(value_n_ - own_Pn, W_nD_);
  }

 private:
  at::Tensor place_H_, value_n_, W_nD_;
};

void check_rows(const at::Tensor& tokens_BT, const at::Tensor& mask_BT, const char* name) {
  LORSA_CHECK(tokens_BT.dim() == 2 && mask_BT.sizes() == tokens_BT.sizes() &&
                  mask_BT.scalar_type() == at::kBool,
              ShapeError, "edits: expected tokens [B, T] and {} [B, T] of bool, found {} and {} {}",
              name, tokens_BT.sizes(), mask_BT.sizes(), mask_BT.scalar_type());
}

/// The first `count` places of `order_V`.
std::vector<TokenShift> shifts(const at::Tensor& order_V,
                               const at::Tensor& before_V,
                               const at::Tensor& after_V,
                               int64_t count) {
  std::vector<TokenShift> out;
  for (int64_t i = 0; i < std::min(count, order_V.numel()); ++i) {
    const int64_t token = order_V.data_ptr<int64_t>()[i];
    out.push_back({static_cast<int32_t>(token), before_V.data_ptr<double>()[token],
                   after_V.data_ptr<double>()[token]});
  }
  return out;
}

}  // namespace

EditedHidden run_edits(const EditedLayer& layer,
                       const std::vector<HeadEdits>& sets,
                       const at::Tensor& tokens_BT,
                       const at::Tensor& edited_BT) {
  const at::NoGradGuard no_grad;
  check_rows(tokens_BT, edited_BT, "edited");
  std::vector<EditSet> prepared;
  prepared.reserve(sets.size());
  for (const HeadEdits& edits : sets) {
    prepared.emplace_back(layer.dictionary, edits);
  }
  const at::Tensor edited_BT1 = edited_BT.to(layer.model.device()).unsqueeze(-1);
  const lm::Residual residual = layer.model.residual_before(tokens_BT, layer.site.layer);
  EditedHidden hidden;
  lm::RunResult original = layer.model.run(residual, {layer.site});
  hidden.original_BTD = std::move(original.hidden_BTD);
  const lm::SiteActivations& seen = original.taps.front();
  const at::Tensor& W = layer.dictionary.weights().W_O;
  const at::Tensor& read = layer.dictionary.read_of(seen.input_BTD, seen.output_BTD);
  const kernels::TopK kept =
      layer.dictionary.reconstruct(read.to(W.device(), W.scalar_type())).kept;
  for (const EditSet& set : prepared) {
    const auto changed = [&](const at::Tensor&, const at::Tensor& output) {
      const at::Tensor change_BTD = set.change(kept).view(output.sizes()).to(output.device());
      return at::where(edited_BT1, output + change_BTD, output).to(output.scalar_type());
    };
    hidden.edited_BTD.push_back(layer.model.final_hidden(residual, {{layer.site, changed}}));
  }
  return hidden;
}

EditMeter::EditMeter(const EditedLayer& layer, std::vector<HeadEdits> sets)
    : layer_(layer), sets_(std::move(sets)), sums_(sets_.size()) {}

void EditMeter::add(const ProbeRows& rows) {
  const at::NoGradGuard no_grad;
  check_rows(rows.tokens_BT, rows.counted_BT, "counted");
  const EditedHidden hidden = run_edits(layer_, sets_, rows.tokens_BT, rows.edited_BT);
  const int64_t vocabulary = layer_.model.config().vocabulary_size;
  for (int64_t b = 0; b < rows.tokens_BT.size(0); ++b) {
    const NextTokens next =
        next_tokens(rows.tokens_BT[b], rows.counted_BT[b], layer_.model.device());
    num_predictions_ += next.count();
    for (const NextTokens& piece : next.pieces(vocabulary)) {
      const auto log_p = [&](const at::Tensor& hidden_BTD) {
        return log_probabilities(layer_.model.unembed(hidden_BTD[b].index({piece.position_n})));
      };
      const at::Tensor original = log_p(hidden.original_BTD);
      ce_original_ += cross_entropy_sum(original, piece.token_n);
      for (size_t i = 0; i < sets_.size(); ++i) {
        const at::Tensor edited = log_p(hidden.edited_BTD[i]);
        sums_[i].ce_edited += cross_entropy_sum(edited, piece.token_n);
        sums_[i].kl += divergence_sum(original, edited);
      }
    }
  }
}

std::vector<EditEffect> EditMeter::report() const {
  const auto n = static_cast<double>(num_predictions_);
  std::vector<EditEffect> effects;
  for (const Sums& sums : sums_) {
    effects.push_back({num_predictions_, ce_original_ / n, sums.ce_edited / n, sums.kl / n});
  }
  return effects;
}

EditEffect measure_edits(const EditedLayer& layer, const HeadEdits& edits, const ProbeRows& rows) {
  return measure_edit_sets(layer, {edits}, rows).front();
}

std::vector<EditEffect> measure_edit_sets(const EditedLayer& layer,
                                          const std::vector<HeadEdits>& sets,
                                          const ProbeRows& rows) {
  check_rows(rows.tokens_BT, rows.counted_BT, "counted");
  check_rows(rows.tokens_BT, rows.edited_BT, "edited");
  EditMeter meter(layer, sets);
  const int64_t B = rows.tokens_BT.size(0);
  const int64_t step =
      std::max<int64_t>(1, kPositionsAtOnce / std::max<int64_t>(1, rows.tokens_BT.size(1)));
  for (int64_t first = 0; first < B; first += step) {
    if (StopSignal::requested()) {
      throw Interrupted(formatted("stopped after {} of {} rows of an intervention", first, B));
    }
    const auto part = [&](const at::Tensor& all) {
      return all.narrow(0, first, std::min(step, B - first));
    };
    meter.add({part(rows.tokens_BT), part(rows.counted_BT), part(rows.edited_BT)});
  }
  return meter.report();
}

PromptEffect measure_prompt(const EditedLayer& layer,
                            const HeadEdits& edits,
                            const at::Tensor& tokens_T,
                            const at::Tensor& edited_T,
                            int64_t num_tokens) {
  const at::NoGradGuard no_grad;
  const EditedHidden hidden =
      run_edits(layer, {edits}, tokens_T.unsqueeze(0), edited_T.unsqueeze(0));
  const auto next_log_p = [&](const at::Tensor& hidden_BTD) {
    return at::log_softmax(layer.model.unembed(hidden_BTD[0][-1]).to(at::kCPU, at::kDouble), -1);
  };
  const at::Tensor log_p_V = next_log_p(hidden.original_BTD);
  const at::Tensor log_q_V = next_log_p(hidden.edited_BTD.front());
  const at::Tensor p_V = log_p_V.exp();
  const at::Tensor q_V = log_q_V.exp();
  const auto ordered = [&](const at::Tensor& by_V) {
    const at::Tensor order_V =
        std::get<1>(at::sort(by_V, /*stable=*/true, /*dim=*/-1, /*descending=*/true));
    return shifts(order_V, p_V, q_V, num_tokens);
  };
  PromptEffect effect;
  effect.kl = divergence_sum(log_p_V, log_q_V);
  effect.before = ordered(p_V);
  effect.after = ordered(q_V);
  effect.changed = ordered((q_V - p_V).abs());
  return effect;
}

}  // namespace lorsa::eval
