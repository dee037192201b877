#include "eval/candidate.h"

#include <ATen/ATen.h>

#include <utility>

namespace lorsa::eval {

Candidate::Candidate(NamedDictionary&& named, const data::Manifest& manifest)
    : name(std::move(named.name)),
      dictionary(std::move(named.dictionary)),
      reconstruction(manifest.context_length, manifest.d_model),
      usage(dictionary.shape().num_ov_heads) {}

at::Tensor Candidate::add(const at::Tensor& input_BTD,
                          const at::Tensor& target_BTD,
                          const at::Tensor& scored_BT) {
  const model::Reconstruction out =
      dictionary.reconstruct(dictionary.read_of(input_BTD, target_BTD));
  reconstruction.add(out.y_BTD, target_BTD, scored_BT);
  usage.add(out.kept.value_PK, out.kept.head_PK, scored_BT.reshape({-1}));
  return out.y_BTD;
}

EvalReport Candidate::report(const kernels::Mhsa* layer) const {
  const model::DictionaryShape& shape = dictionary.shape();
  EvalReport report;
  report.checkpoint = name;
  report.kind = shape.kind;
  report.top_k = shape.top_k;
  report.num_ov_heads = shape.num_ov_heads;
  report.has_heads = shape.num_qk_heads > 0;
  report.reconstruction = reconstruction.report();
  report.usage = usage.report();
  if (patterns) {
    report.patterns = patterns->report();
  }
  if (layer != nullptr) {
    report.spread = spread_of(output_shares(dictionary, *layer), report.usage.rate_H > 0);
  }
  return report;
}

}  // namespace lorsa::eval
