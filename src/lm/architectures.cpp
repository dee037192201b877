#include "lm/architectures.h"

#include <array>

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
    {{"LlamaForCausalLM", read_llama_config, make<LlamaDecoder>},
     {"Qwen3ForCausalLM", read_qwen3_config, make<LlamaDecoder>},
     {"GPTNeoXForCausalLM", read_gpt_neox_config, make<GptNeoxDecoder>}}};

}  // namespace

const Architecture& architecture_named(const std::string& name, const std::string& where) {
  std::string known;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == name) {
      return architecture;
    }
    known += concat(known.empty() ? "" : ", ", architecture.name);
  }
  throw FormatError(
      concat(where, ": architecture \"", name, "\" is not supported; known: ", known));
}

}  // namespace lorsa::lm
