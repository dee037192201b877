// A sparse autoencoder: reads a site's output and writes it. z = W_enc x + b_enc, no attention.
#include <ATen/ATen.h>

#include "model/kind.h"

namespace lorsa::model {
namespace {

// Encoder and decoder rows alike, as Gao et al. (2024) start. z begins centred: b_V takes the mean
// away.
void start_sae(const DictionaryShape& shape,
               const InitConfig& config,
               const InitSample& sample,
               uint64_t seed,
               DictionaryWeights& w) {
  w.W_O = start_rows(config.ov, sample.input_BTD, sample.scored_BT, shape.num_ov_heads,
                     stream(seed, "W_V"));
  w.W_V = w.W_O.clone();
  w.b_V = -at::mv(w.W_V, w.b_D);
}

}  // namespace

const Kind kSae = {
    .info = {.name = "sae",
             .noun = "an SAE",
             .help = "a sparse autoencoder of the site's output",
             .reads = Hook::kOutput,
             .component = std::nullopt},
    .attends = false,
    .has_field_names = true,
    .start = start_sae,
};

}  // namespace lorsa::model
