#include "lm/architectures.h"
#include "lm/config_fields.h"
#include "lm/model_folder.h"
#include "lorsa/core/error.h"
#include "lorsa/io/json.h"
#include "lorsa/lm/language_model.h"

namespace lorsa::lm {
namespace {

using io::Json;
using io::member;
using io::member_or;

std::string read_architecture(const Json& json, const std::string& where) {
  const auto list = member<Json>(json, "architectures", where);
  LORSA_CHECK(list.is_array() && list.size() == 1 && list.at(0).is_string(),
              FormatError,
              where,
              ": architectures: expected a list of one name, found ",
              list.dump());
  return list.at(0).get<std::string>();
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

ModelConfig read_model_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  const std::string where = path.string();
  check_model_folder(folder);
  const Json json = io::read_json(path);
  LORSA_CHECK(json.is_object(), FormatError, where, ": expected an object");
  check_text_model(json, where);
  ModelConfig config;
  config.architecture = read_architecture(json, where);
  config.name = model_name(json, where, folder);
  // Informative: the weights' own dtype counts. But a folder that claims another one is not plain.
  for (const char* key : {"torch_dtype", "dtype"}) {
    static_cast<void>(known_word(json, where, key, {"float32", "bfloat16", "float16"}));
  }
  LORSA_CHECK(!json.contains("quantization_config") || json.at("quantization_config").is_null(),
              FormatError,
              where,
              ": quantised weights (quantization_config) are not supported: use a folder of plain "
              "float32, bfloat16 or float16 weights");
  architecture_named(config.architecture, where).read_config(json, where, config);
  return config;
}

}  // namespace lorsa::lm
