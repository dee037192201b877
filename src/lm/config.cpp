#include <string>
#include <string_view>

#include "lm/family.h"
#include "lm/model_folder.h"
#include "lorsa/core/error.h"
#include "lorsa/io/json.h"
#include "lorsa/lm/model_config.h"

namespace lorsa::lm {
namespace {

using io::Json;
using io::member_or;

/// The weights' own dtype counts, so `torch_dtype` only informs ("auto", "torch.float32"). But a
/// folder that claims whole numbers or eight-bit floats holds no plain weights.
void refuse_quantized(const Json& json, const std::string& where) {
  for (const char* key : {"torch_dtype", "dtype"}) {
    const auto value = member_or<Json>(json, key, where, nullptr);
    auto word = value.is_string() ? value.get<std::string>() : "";
    constexpr std::string_view kPrefix = "torch.";
    word.erase(0, word.starts_with(kPrefix) ? kPrefix.size() : 0);
    for (const char* quantized :
         {"int", "uint", "qint", "quint", "float8", "float4", "fp8", "fp4"}) {
      LORSA_CHECK(!word.starts_with(quantized), FormatError,
                  "{}: {} \"{}\": quantised weights are not supported: use a folder of plain "
                  "float32, bfloat16 or float16 weights",
                  where, key, word);
    }
  }
  LORSA_CHECK(member_or<Json>(json, "quantization_config", where, nullptr).is_null(), FormatError,
              "{}: quantised weights (quantization_config) are not supported: use a folder of "
              "plain float32, bfloat16 or float16 weights",
              where);
}

std::string model_name(const Json& json,
                       const std::string& where,
                       const std::filesystem::path& folder) {
  auto recorded = member_or<std::string>(json, "_name_or_path", where, "");
  if (!recorded.empty() && !std::filesystem::path(recorded).is_absolute()) {
    return recorded;
  }
  const std::filesystem::path normal = std::filesystem::absolute(folder).lexically_normal();
  return (normal.has_filename() ? normal : normal.parent_path()).filename().string();
}

}  // namespace

std::string input_convention(const LayerSpec& spec) {
  return spec.norm == NormKind::kRms ? "rms_normalized" : "layer_norm_output";
}

ModelConfig read_model_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  const std::string where = path.string();
  check_model_folder(folder);
  const Json json = io::read_json(path);
  LORSA_CHECK(json.is_object(), FormatError, "{}: expected an object", where);
  check_text_model(json, where);
  ModelConfig config;
  const Family& family = family_of(json, where);
  config.architecture = family.architecture;
  config.name = model_name(json, where, folder);
  refuse_quantized(json, where);
  family.read_config(json, where, config);
  return config;
}

}  // namespace lorsa::lm
