#include "lorsa/model/initialize.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "lorsa/core/error.h"
#include "model/kind.h"

namespace lorsa::model {
namespace {

// Scales W_V: by the least-squares factor of the sample's loss, or to the target's variance.
void set_value_norm(const DictionaryShape& shape,
                    bool search,
                    const InitSample& sample,
                    DictionaryWeights& w) {
  const Dictionary dictionary(shape, w);
  const at::Tensor written_PD = (dictionary.reconstruct(sample.input_BTD).y_BTD - w.b_D)
                                    .reshape({-1, shape.d_model})
                                    .to(at::kDouble);
  const at::Tensor scored_P = sample.scored_BT.reshape({-1});
  const at::Tensor y = written_PD.index({scored_P});
  const at::Tensor t =
      (sample.target_BTD - w.b_D).reshape({-1, shape.d_model}).to(at::kDouble).index({scored_P});
  const double y_square = y.square().sum().item<double>();
  const double y_variance = (y - y.mean(0)).square().sum().item<double>();
  if (y_square <= 0.0 || y_variance <= 0.0) {
    return;  // nothing is written on this sample: no scale is better than another
  }
  const double least_squares = (y * t).sum().item<double>() / y_square;
  const double variance_match =
      std::sqrt((t - t.mean(0)).square().sum().item<double>() / y_variance);
  // A writer that points away from the target on the whole (random rows) has no good positive
  // scale: match the variance.
  const double factor =
      search && least_squares > 1e-3 * variance_match ? least_squares : variance_match;
  w.W_V.mul_(factor);
  w.b_V.mul_(factor);
}

}  // namespace

void describe(config::Fields& f, InitConfig& c) {
  f.choice<QkInit>("qk", c.qk, {{"random", QkInit::kRandom}, {"mhsa", QkInit::kMhsa}},
                   "Start of W_Q and W_K: Xavier-uniform, or copies of the layer's own heads.");
  f.choice<OvInit>(
      "ov", c.ov, {{"random", OvInit::kRandom}, {"active_subspace", OvInit::kActiveSubspace}},
      "Start of W_V and W_O: random rows, or directions that the copied head reads and writes (an "
      "SAE's or transcoder's encoder and decoder: directions in which what they read or write "
      "varies).");
  f.boolean("norm_search", c.norm_search,
            "Scale W_V to the least loss on one batch (else to the target's variance).");
  f.number("jumprelu_threshold", c.jumprelu_threshold,
           "First threshold of every head, in units of relu(z) |W_O| (jumprelu only).")
      .between(1e-9, 1e9);
}

DictionaryWeights initialize(const DictionaryShape& shape,
                             const InitConfig& config,
                             const InitSample& sample,
                             uint64_t seed) {
  const at::NoGradGuard no_grad;
  validate(shape);
  DictionaryWeights w;
  w.b_D = sample.target_mean_D.to(at::kFloat).contiguous().clone();
  kind_of(shape.kind).start(shape, config, sample, seed, w);
  if (shape.activation == Activation::kJumpRelu) {
    w.log_threshold =
        at::full({shape.num_ov_heads}, std::log(config.jumprelu_threshold), at::kFloat);
  }
  if (shape.num_virtual_keys > 0) {
    w.virtual_k = at::empty(weight_shape(shape, "virtual_k"))
                      .normal_(0.0, 1.0 / std::sqrt(static_cast<double>(shape.d_qk)),
                               stream(seed, "virtual_k"));
  }
  set_value_norm(shape, config.norm_search, sample, w);
  return w;
}

}  // namespace lorsa::model
