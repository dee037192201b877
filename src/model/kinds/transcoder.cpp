// A transcoder (Dunefsky et al. 2024): reads an MLP's input and writes its output, z = W_enc x +
// b_enc. Input and output have a scale each, as a Lorsa's have.
#include <ATen/ATen.h>

#include "model/kind.h"

namespace lorsa::model {
namespace {

// What it reads and what it writes lie in different spaces, so the rows start apart. z begins
// centred: b_V takes the input's mean away.
void start_transcoder(const DictionaryShape& shape,
                      const InitConfig& config,
                      const InitSample& sample,
                      uint64_t seed,
                      DictionaryWeights& w) {
  w.W_V = start_rows(config.ov, sample.input_BTD, sample.scored_BT, shape.num_ov_heads,
                     stream(seed, "W_V"));
  w.W_O = start_rows(config.ov, sample.target_BTD, sample.scored_BT, shape.num_ov_heads,
                     stream(seed, "W_O"));
  const at::Tensor x_nD =
      sample.input_BTD.reshape({-1, shape.d_model}).index({sample.scored_BT.reshape({-1})});
  w.b_V = -at::mv(w.W_V, x_nD.mean(0));
}

}  // namespace

const Kind kTranscoder = {
    .info = {.name = "transcoder",
             .noun = "a transcoder",
             .help = "reads an MLP's input and writes its output",
             .reads = Hook::kInput,
             .component = Component::kMlp},
    .attends = false,
    .has_field_names = true,
    .start = start_transcoder,
};

}  // namespace lorsa::model
