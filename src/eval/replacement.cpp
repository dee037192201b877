#include "eval/replacement.h"

#include <ATen/ATen.h>

#include "lorsa/core/error.h"

namespace lorsa::eval {

lm::Edit replaced_by(const Replacement& replacement, const at::Tensor& scored_BT1) {
  const model::Dictionary* dictionary = replacement.dictionary;
  return {replacement.site, [dictionary, scored_BT1](const at::Tensor& in, const at::Tensor& out) {
            const at::Tensor& W = dictionary->weights().W_V;
            const at::Tensor read = dictionary->read_of(in, out).to(W.device(), W.scalar_type());
            const at::Tensor y = dictionary->reconstruct(read).y_BTD;
            return at::where(scored_BT1, y.to(out.device(), out.scalar_type()), out);
          }};
}

lm::Edit replaced_by(const Site& site, const at::Tensor& value, const at::Tensor& scored_BT1) {
  return {site, [value, scored_BT1](const at::Tensor&, const at::Tensor& out) {
            return at::where(scored_BT1, value.to(out.device(), out.scalar_type()).expand_as(out),
                             out);
          }};
}

std::function<at::Tensor(const at::Tensor&)> logits_of_row(const lm::LanguageModel& model,
                                                           const at::Tensor& row_TD) {
  return [&model, row_TD](const at::Tensor& position_n) {
    return model.unembed(row_TD.index({position_n}));
  };
}

std::unique_ptr<lm::LanguageModel> load_model_of(const std::filesystem::path& folder,
                                                 const data::CacheReader& cache,
                                                 c10::Device device) {
  auto model = std::make_unique<lm::LanguageModel>(folder, device);
  const std::string& expected = cache.manifest().weights_sha256;
  LORSA_CHECK(model->weights_sha256() == expected, ConfigError,
              "{} is not the model that {} was extracted from: SHA-256 of its weights is {}, the "
              "cache says {}",
              folder, cache.folder(), model->weights_sha256(), expected);
  return model;
}

}  // namespace lorsa::eval
