#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lm/block.h"
#include "lorsa/lm/language_model.h"

namespace lorsa::lm {

/// One pass through blocks, with taps and edits: the loop of every run.
class Pass {
 public:
  /// `taps` ascend, `edits` name every site once. All references and ranges must outlive the pass.
  Pass(const ModelConfig& config,
       const std::vector<Block>& blocks,
       std::span<const Site> taps = {},
       std::span<const Edit> edits = {})
      : config_(config), blocks_(blocks), tapped_(taps), edits_(edits) {}

  /// Blocks first .. last-1, in place in `residual_BTD`; with Until::kLastTap no block or MLP
  /// behind the last tap. Throws ShapeError for a replacement of another shape than the output's.
  void run(at::Tensor& residual_BTD, int64_t first, int64_t last, Until until);

  /// What the taps saw, in their order.
  [[nodiscard]] std::vector<SiteActivations>& taps() { return taps_; }

 private:
  [[nodiscard]] bool is_tapped(const Site& site) const;
  [[nodiscard]] const Edit* edit_of(const Site& site) const;
  [[nodiscard]] TapInput tap_of(const Site& site) const;
  [[nodiscard]] bool ends_here(Until until) const;
  /// Takes what the site read and wrote, and puts an edit's replacement in the output's place.
  void visit(const Site& site, SiteActivations& step);
  /// The block behind its attention.
  void add_rest(int64_t layer, const at::Tensor& attention_BTD, at::Tensor& residual_BTD);

  const ModelConfig& config_;
  const std::vector<Block>& blocks_;
  std::span<const Site> tapped_;
  std::span<const Edit> edits_;
  std::vector<SiteActivations> taps_;
};

}  // namespace lorsa::lm
