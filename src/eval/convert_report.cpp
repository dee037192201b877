#include <iomanip>
#include <sstream>

#include "io/rope_json.h"
#include "io/words.h"
#include "lorsa/core/error.h"
#include "lorsa/core/progress.h"
#include "lorsa/eval/convert.h"

namespace lorsa::eval {
namespace {

std::string activation_text(const model::DictionaryShape& shape) {
  const std::string word = io::word_of(model::activation_words(), shape.activation);
  const bool takes_k = shape.activation != model::Activation::kRelu &&
                       shape.activation != model::Activation::kJumpRelu;
  return takes_k ? formatted("{}, K {}", word, shape.top_k) : word;
}

std::string rope_text(const kernels::RopeSpec& rope) {
  if (rope.rotary_dim == 0) {
    return "no RoPE";
  }
  const char* scaling = rope.scaling == kernels::RopeScaling::kNone     ? ""
                        : rope.scaling == kernels::RopeScaling::kLinear ? ", linear scaling"
                                                                        : ", llama3 scaling";
  return formatted("RoPE over {} dimensions ({}), base {}{}", rope.rotary_dim,
                   io::word_of(io::kRopeLayouts, rope.layout), rope.base, scaling);
}

std::string normalization_text(const ConvertReport& report) {
  const bool folded = report.info.normalization == model::Normalization::kFolded;
  return folded ? formatted("folded (stated: {})", report.stated)
                : formatted("scaled, input by {}, target by {} (stated: {})",
                            report.info.input_scale, report.info.target_scale, report.stated);
}

std::string readings_text(const Readings& readings) {
  std::string scaled = "no mean norms to read as scaled";
  if (readings.fvu_scaled) {
    scaled =
        formatted("fvu {}, {} heads a token as scaled", *readings.fvu_scaled, readings.l0_scaled);
  }
  return formatted("{}; fvu {}, {} heads a token as folded ({} rows)", scaled, readings.fvu_folded,
                   readings.l0_folded, readings.num_rows);
}

}  // namespace

std::string report_text(const ConvertReport& report) {
  const model::DictionaryShape& s = report.shape;
  std::ostringstream out;
  const auto line = [&](const char* label, const std::string& text) {
    out << std::left << std::setw(15) << label << text << "\n";
  };
  line("read", formatted("{} ({}, {})", report.input, report.source, report.dtype));
  line("sizes", formatted("d_model {}, {} OV heads, {} QK heads of width {}", s.d_model,
                          s.num_ov_heads, s.num_qk_heads, s.d_qk));
  line("activation", activation_text(s));
  line("attention",
       formatted("{}, q.k over {}{}{}", rope_text(s.rope), s.attn_scale,
                 s.qk_norm ? ", QK norm" : "",
                 s.num_virtual_keys > 0 ? formatted(", {} virtual keys", s.num_virtual_keys) : ""));
  line("normalization", normalization_text(report));
  line(
      "layer",
      formatted("{}{}", report.info.site.layer,
                report.info.model_name.empty() ? "" : formatted(" of {}", report.info.model_name)));
  if (report.readings) {
    line("on the cache", readings_text(*report.readings));
  }
  line(report.written ? "wrote" : "would write",
       formatted("{} ({}, float32{})", report.output, to_string(report.to),
                 report.bytes > 0.0 ? ", about " + format_bytes(report.bytes) : std::string()));
  return out.str();
}

}  // namespace lorsa::eval
