#include <iomanip>
#include <sstream>

#include "lorsa/core/error.h"
#include "lorsa/core/progress.h"
#include "lorsa/eval/convert.h"

namespace lorsa::eval {
namespace {

std::string activation_text(const model::LorsaShape& shape) {
  switch (shape.activation) {
    case model::Activation::kTopK:
      return concat("topk, K ", shape.top_k);
    case model::Activation::kTopKSigned:
      return concat("topk_signed, K ", shape.top_k);
    case model::Activation::kBatchTopK:
      return concat("batchtopk, K ", shape.top_k);
    case model::Activation::kRelu:
      return "relu";
    case model::Activation::kJumpRelu:
      return "jumprelu";
  }
  throw Error("unknown activation");
}

std::string rope_text(const kernels::RopeSpec& rope) {
  if (rope.rotary_dim == 0) {
    return "no RoPE";
  }
  const bool split = rope.layout == kernels::RopeLayout::kHalfSplit;
  const char* scaling = rope.scaling == kernels::RopeScaling::kNone     ? ""
                        : rope.scaling == kernels::RopeScaling::kLinear ? ", linear scaling"
                                                                        : ", llama3 scaling";
  return concat("RoPE over ",
                rope.rotary_dim,
                " dimensions (",
                split ? "half_split" : "adjacent_pairs",
                "), base ",
                rope.base,
                scaling);
}

std::string normalization_text(const ConvertReport& report) {
  const bool folded = report.info.normalization == model::Normalization::kFolded;
  return folded ? concat("folded (stated: ", report.stated, ")")
                : concat("scaled, input by ",
                         report.info.input_scale,
                         ", target by ",
                         report.info.target_scale,
                         " (stated: ",
                         report.stated,
                         ")");
}

std::string readings_text(const Readings& readings) {
  std::string scaled = "no mean norms to read as scaled";
  if (readings.fvu_scaled) {
    scaled =
        concat("fvu ", *readings.fvu_scaled, ", ", readings.l0_scaled, " heads a token as scaled");
  }
  return concat(scaled,
                "; fvu ",
                readings.fvu_folded,
                ", ",
                readings.l0_folded,
                " heads a token as folded (",
                readings.num_rows,
                " rows)");
}

}  // namespace

std::string report_text(const ConvertReport& report) {
  const model::LorsaShape& s = report.shape;
  std::ostringstream out;
  const auto line = [&](const char* label, const std::string& text) {
    out << std::left << std::setw(15) << label << text << "\n";
  };
  line("read", concat(report.input, " (", to_string(report.from), ", ", report.dtype, ")"));
  line("sizes",
       concat("d_model ",
              s.d_model,
              ", ",
              s.num_ov_heads,
              " OV heads, ",
              s.num_qk_heads,
              " QK heads of width ",
              s.d_qk));
  line("activation", activation_text(s));
  line("attention",
       concat(rope_text(s.rope),
              ", q.k over ",
              s.attn_scale,
              s.qk_norm ? ", QK norm" : "",
              s.num_virtual_keys > 0 ? concat(", ", s.num_virtual_keys, " virtual keys") : ""));
  line("normalization", normalization_text(report));
  line("layer",
       concat(report.info.layer,
              report.info.model_name.empty() ? "" : concat(" of ", report.info.model_name)));
  if (report.readings) {
    line("on the cache", readings_text(*report.readings));
  }
  line(report.written ? "wrote" : "would write",
       concat(report.output,
              " (",
              to_string(report.to),
              ", float32",
              report.bytes > 0.0 ? ", about " + format_bytes(report.bytes) : std::string(),
              ")"));
  return out.str();
}

}  // namespace lorsa::eval
