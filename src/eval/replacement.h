#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <memory>

#include "lorsa/data/cache_reader.h"
#include "lorsa/eval/together.h"
#include "lorsa/lm/language_model.h"

// What measures of a replaced site have in common. Outputs are replaced at scored positions only.

namespace lorsa::eval {

/// The site's output becomes the dictionary's; scored_BT1 [B, T, 1] on the model's device.
[[nodiscard]] lm::Edit replaced_by(const Replacement& replacement, const at::Tensor& scored_BT1);

/// The site's output becomes `value`, a number or of width D.
[[nodiscard]] lm::Edit replaced_by(const Site& site,
                                   const at::Tensor& value,
                                   const at::Tensor& scored_BT1);

/// Logits of a row at positions, from the final norm's outputs [T, D]. `model` is borrowed.
[[nodiscard]] std::function<at::Tensor(const at::Tensor&)> logits_of_row(
    const lm::LanguageModel& model, const at::Tensor& row_TD);

/// The model in `folder`. Throws ConfigError unless `cache` was extracted from it.
[[nodiscard]] std::unique_ptr<lm::LanguageModel> load_model_of(const std::filesystem::path& folder,
                                                               const data::CacheReader& cache,
                                                               c10::Device device);

}  // namespace lorsa::eval
