#include "lm/pass.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lorsa/core/error.h"

namespace lorsa::lm {

bool Pass::is_tapped(const Site& site) const {
  return taps_.size() < tapped_.size() && tapped_[taps_.size()] == site;
}

const Edit* Pass::edit_of(const Site& site) const {
  const auto found = std::find_if(edits_.begin(), edits_.end(),
                                  [&](const Edit& edit) { return edit.site == site; });
  return found == edits_.end() ? nullptr : &*found;
}

TapInput Pass::tap_of(const Site& site) const {
  return is_tapped(site) || edit_of(site) != nullptr ? TapInput::kYes : TapInput::kNo;
}

bool Pass::ends_here(Until until) const {
  return until == Until::kLastTap && taps_.size() == tapped_.size();
}

void Pass::visit(const Site& site, SiteActivations& step) {
  if (is_tapped(site)) {
    taps_.push_back(step);
  }
  const Edit* edit = edit_of(site);
  if (edit == nullptr) {
    return;
  }
  const at::Tensor replacement = edit->replace(step.input_BTD, step.output_BTD);
  LORSA_CHECK(replacement.sizes() == step.output_BTD.sizes(), ShapeError,
              "model {}: the edit of {} returned {}, expected {}", config_.name, to_string(site),
              replacement.sizes(), step.output_BTD.sizes());
  step.output_BTD = replacement.to(step.output_BTD.device(), step.output_BTD.scalar_type());
}

void Pass::run(at::Tensor& residual_BTD, int64_t first, int64_t last, Until until) {
  for (int64_t layer = first; layer < last && !ends_here(until); ++layer) {
    const Site site{layer, Component::kAttention};
    SiteActivations attention =
        blocks_[static_cast<size_t>(layer)].attention(residual_BTD, tap_of(site));
    visit(site, attention);
    if (!ends_here(until)) {
      add_rest(layer, attention.output_BTD, residual_BTD);
    }
  }
}

void Pass::add_rest(int64_t layer, const at::Tensor& attention_BTD, at::Tensor& residual_BTD) {
  const Block& block = blocks_[static_cast<size_t>(layer)];
  const Site site{layer, Component::kMlp};
  const TapInput tap = tap_of(site);
  const bool is_parallel = block.spec().parallel_residual;
  MlpStep mlp;
  if (is_parallel) {
    mlp = block.mlp(residual_BTD, tap);
  }
  residual_BTD.add_(attention_BTD);
  if (!is_parallel) {
    mlp = block.mlp(residual_BTD, tap);
  }
  if (tap == TapInput::kNo) {
    block.add_mlp_(residual_BTD, mlp.hidden_BTM);
    return;
  }
  SiteActivations step{mlp.input_BTD, block.mlp_output(mlp.hidden_BTM)};
  visit(site, step);
  residual_BTD.add_(step.output_BTD);
}

}  // namespace lorsa::lm
