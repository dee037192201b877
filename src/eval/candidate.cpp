#include "eval/candidate.h"

#include <ATen/ATen.h>

#include <utility>

namespace lorsa::eval {

Candidate::Candidate(const std::filesystem::path& checkpoint,
                     model::LoadedLorsa&& lorsa,
                     const data::Manifest& manifest)
    : folder(checkpoint),
      loaded(std::move(lorsa)),
      reconstruction(manifest.context_length, manifest.d_model),
      usage(loaded.lorsa.shape().num_ov_heads) {}

at::Tensor Candidate::add(const at::Tensor& input_BTD,
                          const at::Tensor& target_BTD,
                          const at::Tensor& scored_BT) {
  const bool reads_target = loaded.lorsa.shape().reads_target();
  const model::Reconstruction out = loaded.lorsa.reconstruct(reads_target ? target_BTD : input_BTD);
  reconstruction.add(out.y_BTD, target_BTD, scored_BT);
  usage.add(out.kept.value_PK, out.kept.head_PK, scored_BT.reshape({-1}));
  return out.y_BTD;
}

EvalReport Candidate::report(const kernels::Mhsa& layer) const {
  const model::LorsaShape& shape = loaded.lorsa.shape();
  EvalReport report;
  report.checkpoint = folder.string();
  report.kind = shape.has_attention() ? "lorsa" : "sae";
  report.top_k = shape.top_k;
  report.num_ov_heads = shape.num_ov_heads;
  report.reconstruction = reconstruction.report();
  report.usage = usage.report();
  if (language) {
    report.language = language->report();
  }
  if (patterns) {
    report.patterns = patterns->report();
  }
  report.spread = spread_of(output_shares(loaded.lorsa, layer), report.usage.rate_H > 0);
  return report;
}

}  // namespace lorsa::eval
