#include <ATen/ATen.h>

#include "lorsa/core/error.h"
#include "lorsa/eval/convert.h"
#include "lorsa/io/safetensors.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/model/checkpoint.h"
#include "support/paths.h"
#include "support/temp_dir.h"
#include "support/tensors.h"
#include "support/test.h"
#include "support/throws.h"

// The Lorsa that is a layer, against what transformers' hooks saw that layer read and write
// (scripts/golden/models.py). Errors are max abs difference / max abs.

using namespace lorsa;

namespace {

eval::ConvertReport convert_layer(const std::string& name,
                                  int64_t layer,
                                  const std::filesystem::path& output) {
  eval::ConvertOptions options;
  options.input = test::golden("lm") / name;
  options.output = output;
  options.mhsa_layer = layer;
  return eval::convert(options);
}

}  // namespace

TEST_CASE("the Lorsa of a layer reconstructs what the layer of any family writes", "[eval]") {
  for (const std::string name :
       {"tiny-tied", "tiny-llama3", "tiny-plain", "tiny-qwen3", "tiny-qwen3-bias", "tiny-neox",
        "tiny-neox-sequential", "tiny-neox-respelled"}) {
    const test::TempDir dir;
    const io::SafetensorsReader golden(test::golden("lm/" + name + ".safetensors"));
    const int64_t layers = lm::read_model_config(test::golden("lm") / name).num_layers;
    for (int64_t layer = 0; layer < layers; ++layer) {
      CAPTURE(name, layer);
      const auto out = dir / formatted("{}", layer);
      const eval::ConvertReport report = convert_layer(name, layer, out);
      CHECK(report.written);
      CHECK(report.source == formatted("the attention of layer {}", layer));
      const model::LoadedDictionary loaded = model::load_folded(out);
      const model::DictionaryShape& shape = loaded.dictionary.shape();
      CHECK(shape.top_k == shape.num_ov_heads);
      CHECK(shape.activation == model::Activation::kTopKSigned);
      CHECK(loaded.info.site.layer == layer);
      CHECK(loaded.info.model_name == name);
      const at::Tensor y =
          loaded.dictionary.reconstruct(golden.read(formatted("input.{}", layer))).y_BTD;
      CHECK(test::relative_error(y, golden.read(formatted("target.{}", layer))) <= 1e-5);
    }
  }
}

TEST_CASE("a layer's Lorsa is refused with what belongs to checkpoints", "[eval]") {
  const test::TempDir dir;
  CHECK_THROWS_WITH(convert_layer("tiny-plain", 9, dir / "out"), Catch::Contains("layer 9"));
  eval::ConvertOptions options;
  options.input = test::golden("lm/tiny-plain");
  options.output = dir / "out";
  options.mhsa_layer = 0;
  options.cache = dir / "cache";
  CHECK_THROWS_AS(eval::convert(options), ConfigError);
  options.cache.clear();
  options.to = model::CheckpointKind::kLlamascopium;
  CHECK_THROWS_WITH(eval::convert(options), Catch::Contains("topk_signed"));
  CHECK_FALSE(std::filesystem::exists(dir / "out"));
}
