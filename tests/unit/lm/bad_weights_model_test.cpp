#include <ATen/ATen.h>

#include <limits>

#include "lorsa/core/error.h"
#include "lorsa/lm/language_model.h"
#include "model_folder.h"
#include "support/test.h"

using namespace lorsa;
using lm::LanguageModel;
using test::ModelFolder;

namespace {

constexpr const char* kUp = "model.layers.1.mlp.up_proj.weight";
constexpr const char* kIndex = "model.safetensors.index.json";

void load(const ModelFolder& folder) {
  const LanguageModel model(folder.path(), at::kCPU);
}

}  // namespace

TEST_CASE("the damaged copies are good before the damage", "[lm]") {
  CHECK_NOTHROW(load(ModelFolder("tiny-plain")));
  CHECK_NOTHROW(load(ModelFolder("tiny-llama3")));
}

TEST_CASE("a missing tensor is named", "[lm]") {
  const ModelFolder folder("tiny-plain");
  folder.edit_weights([](const std::string& name, const at::Tensor& value) {
    return name == kUp ? at::Tensor() : value;
  });
  CHECK_THROWS_AS(load(folder), FormatError);
  CHECK_THROWS_WITH(load(folder), Catch::Contains(kUp) && Catch::Contains("model.safetensors"));
}

TEST_CASE("a tensor of another shape is named with both shapes", "[lm]") {
  const ModelFolder folder("tiny-plain");
  folder.edit_weights([](const std::string& name, const at::Tensor& value) {
    return name == kUp ? value.narrow(0, 0, 33).clone() : value;
  });
  CHECK_THROWS_AS(load(folder), FormatError);
  CHECK_THROWS_WITH(load(folder), Catch::Contains(kUp) && Catch::Contains("[34, 24]") &&
                                      Catch::Contains("[33, 24]"));
}

TEST_CASE("a tensor of another dtype is named", "[lm]") {
  for (const auto dtype : {at::kDouble, at::kInt, at::kBool}) {
    const ModelFolder folder("tiny-plain");
    folder.edit_weights([&](const std::string& name, const at::Tensor& value) {
      return name == kUp ? value.to(dtype) : value;
    });
    CHECK_THROWS_AS(load(folder), FormatError);
    CHECK_THROWS_WITH(load(folder), Catch::Contains(kUp));
  }
}

TEST_CASE("a value that is not finite is named, in every stored dtype", "[lm]") {
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      const ModelFolder folder("tiny-plain");
      folder.edit_weights([&](const std::string& name, const at::Tensor& value) {
        at::Tensor changed = value.to(dtype).clone();
        if (name == kUp) {
          changed[3][5] = bad;
        }
        return changed;
      });
      CAPTURE(dtype, bad);
      CHECK_THROWS_AS(load(folder), FormatError);
      CHECK_THROWS_WITH(load(folder), Catch::Contains(kUp) && Catch::Contains("77"));
    }
  }
}

TEST_CASE("finite values whose sum overflows are accepted", "[lm]") {
  const ModelFolder folder("tiny-plain");
  folder.edit_weights([](const std::string& name, const at::Tensor& value) {
    return name == kUp ? at::full_like(value, 3e38, at::kFloat) : value;
  });
  CHECK_NOTHROW(load(folder));
}

TEST_CASE("a cut file is refused", "[lm]") {
  const ModelFolder folder("tiny-plain");
  const auto path = folder.path() / "model.safetensors";
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  CHECK_THROWS_AS(load(folder), FormatError);
  CHECK_THROWS_WITH(load(folder), Catch::Contains("model.safetensors"));
}

TEST_CASE("a folder without weights is refused", "[lm]") {
  const ModelFolder folder("tiny-plain");
  std::filesystem::remove(folder.path() / "model.safetensors");
  CHECK_THROWS_AS(load(folder), FormatError);
  CHECK_THROWS_WITH(load(folder), Catch::Contains("neither"));
}

TEST_CASE("an index that names a missing shard is refused with the shard's name", "[lm]") {
  const ModelFolder folder("tiny-llama3");
  std::filesystem::remove(folder.path() / "model-00002-of-00004.safetensors");
  CHECK_THROWS_AS(load(folder), FormatError);
  CHECK_THROWS_WITH(load(folder),
                    Catch::Contains(kIndex) && Catch::Contains("model-00002-of-00004.safetensors"));
}

TEST_CASE("an index that does not fit its shards is refused", "[lm]") {
  SECTION("a tensor in the wrong shard") {
    const ModelFolder folder("tiny-llama3");
    folder.edit_json(kIndex, [](io::Json& json) {
      json["weight_map"]["lm_head.weight"] = "model-00001-of-00004.safetensors";
      json["weight_map"]["model.embed_tokens.weight"] = "model-00004-of-00004.safetensors";
    });
    CHECK_THROWS_AS(load(folder), FormatError);
    CHECK_THROWS_WITH(load(folder), Catch::Contains("does not hold it"));
  }
  SECTION("a tensor that is not listed") {
    const ModelFolder folder("tiny-llama3");
    folder.edit_json(kIndex, [](io::Json& json) { json["weight_map"].erase(kUp); });
    CHECK_THROWS_AS(load(folder), FormatError);
    CHECK_THROWS_WITH(load(folder), Catch::Contains(kUp) && Catch::Contains("weight_map"));
  }
  SECTION("a path out of the folder") {
    for (const char* name : {"../model.safetensors", "/etc/passwd", "..", ""}) {
      const ModelFolder folder("tiny-llama3");
      folder.edit_json(kIndex, [&](io::Json& json) { json["weight_map"][kUp] = name; });
      CHECK_THROWS_AS(load(folder), FormatError);
      CHECK_THROWS_WITH(load(folder), Catch::Contains("not a file name"));
    }
  }
  SECTION("no map") {
    for (const io::Json& map : {io::Json(nullptr), io::Json::object(), io::Json("x")}) {
      const ModelFolder folder("tiny-llama3");
      folder.edit_json(kIndex, [&](io::Json& json) { json["weight_map"] = map; });
      CHECK_THROWS_AS(load(folder), FormatError);
    }
  }
}
