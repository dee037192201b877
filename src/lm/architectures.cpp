#include "lm/architectures.h"

#include <algorithm>
#include <array>
#include <vector>

#include "lm/gpt_neox.h"
#include "lm/llama.h"
#include "lorsa/core/error.h"

namespace lorsa::lm {
namespace {

template <typename Implementation>
std::unique_ptr<const Decoder> make(const ModelConfig& config,
                                    const WeightFiles& weights,
                                    const Placement& placement) {
  return std::make_unique<Implementation>(config, weights, placement);
}

constexpr std::array<Architecture, 3> kArchitectures = {
    {{"LlamaForCausalLM", "llama", read_llama_config, make<LlamaDecoder>},
     {"Qwen3ForCausalLM", "qwen3", read_qwen3_config, make<LlamaDecoder>},
     {"GPTNeoXForCausalLM", "gpt_neox", read_gpt_neox_config, make<GptNeoxDecoder>}}};

std::string known_architectures() {
  std::string known;
  for (const Architecture& architecture : kArchitectures) {
    known += formatted("{}{}", known.empty() ? "" : ", ", architecture.name);
  }
  return known;
}

/// The entry that `matches`, or nothing.
template <typename Matches>
const Architecture* find_architecture(const Matches& matches) {
  const auto* found = std::find_if(kArchitectures.begin(), kArchitectures.end(), matches);
  return found == kArchitectures.end() ? nullptr : found;
}

/// Those of config.json's `architectures` that are known.
std::vector<const Architecture*> known_among(const io::Json& names, const std::string& where) {
  std::vector<const Architecture*> known;
  for (const io::Json& name : names) {
    LORSA_CHECK(name.is_string(), FormatError,
                "{}: architectures: expected a list of names, found {}", where, names.dump());
    const Architecture* found =
        find_architecture([&](const Architecture& each) { return name == each.name; });
    if (found != nullptr && std::find(known.begin(), known.end(), found) == known.end()) {
      known.push_back(found);
    }
  }
  return known;
}

}  // namespace

const Architecture& architecture_named(const std::string& name, const std::string& where) {
  const Architecture* found =
      find_architecture([&](const Architecture& each) { return name == each.name; });
  LORSA_CHECK(found != nullptr, FormatError, "{}: architecture \"{}\" is not supported; known: {}",
              where, name, known_architectures());
  return *found;
}

const Architecture& architecture_of(const io::Json& config, const std::string& where) {
  const auto names = io::member_or<io::Json>(config, "architectures", where, io::Json::array());
  LORSA_CHECK(names.is_array(), FormatError,
              "{}: architectures: expected a list of names, found {}", where, names.dump());
  const std::vector<const Architecture*> known = known_among(names, where);
  LORSA_CHECK(known.size() <= 1, FormatError,
              "{}: architectures: expected one that is known, found {}", where, names.dump());
  const auto model_type = io::member_or<std::string>(config, "model_type", where, "");
  const Architecture* by_type =
      find_architecture([&](const Architecture& each) { return model_type == each.model_type; });
  const std::string type_text =
      model_type.empty() ? "no model_type" : formatted("model_type \"{}\"", model_type);
  if (known.empty()) {
    LORSA_CHECK(names.empty() && by_type != nullptr, FormatError,
                "{}: architectures {} with {} are not supported; known: {}", where, names.dump(),
                type_text, known_architectures());
    return *by_type;
  }
  LORSA_CHECK(
      model_type.empty() || by_type == known.front(), FormatError,
      "{}: architectures {} and {} disagree: transformers would go by the latter (expected \"{}\")",
      where, names.dump(), type_text, known.front()->model_type);
  return *known.front();
}

}  // namespace lorsa::lm
