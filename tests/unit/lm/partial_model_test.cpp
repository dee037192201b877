#include <ATen/ATen.h>
#include <malloc.h>

#include <fstream>
#include <limits>

#include "lorsa/core/error.h"
#include "lorsa/io/safetensors.h"
#include "lorsa/lm/language_model.h"
#include "model_folder.h"
#include "support/tensors.h"
#include "support/test.h"

// What is loaded, and in how much memory.

using namespace lorsa;
using lm::Head;
using lm::LanguageModel;
using test::ModelFolder;

namespace {

struct Case {
  const char* model;
  const char* layers;  // prefix of the blocks' tensors
  const char* unembedding;
  const char* final_norm;
  const char* mlp;  // inside a block
};

const std::vector<Case> kCases = {
    {"tiny-plain", "model.layers.", "lm_head.weight", "model.norm.weight", ".mlp.up_proj.weight"},
    {"tiny-qwen3", "model.layers.", "lm_head.weight", "model.norm.weight",
     ".post_attention_layernorm.weight"},
    {"tiny-neox", "gpt_neox.layers.", "embed_out.weight", "gpt_neox.final_layer_norm.bias",
     ".mlp.dense_h_to_4h.bias"}};

/// Leaves `unwanted` out of the folder's weights; it must have been there.
void remove_tensors(const ModelFolder& folder, const std::vector<std::string>& unwanted) {
  size_t num_removed = 0;
  folder.edit_weights([&](const std::string& name, const at::Tensor& value) {
    const bool remove = std::find(unwanted.begin(), unwanted.end(), name) != unwanted.end();
    num_removed += remove ? 1 : 0;
    return remove ? at::Tensor() : value;
  });
  REQUIRE(num_removed == unwanted.size());
}

/// Memory of the process after the allocator gave back what is free.
int64_t status_kib(const std::string& key) {
  ::malloc_trim(0);
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key + ":")) {
      return std::stoll(line.substr(key.size() + 1));
    }
  }
  throw std::runtime_error("/proc/self/status has no " + key);
}

/// tiny-plain with an MLP so wide that its weights, 3 x 3 tensors of `kMlpBytes`, are the file.
constexpr int64_t kMlpWidth = 200'000;
constexpr int64_t kMlpKib = kMlpWidth * 24 * 2 / 1024;  // bfloat16

void widen_mlp(const ModelFolder& folder) {
  folder.edit_config([](io::Json& json) { json["intermediate_size"] = kMlpWidth; });
  folder.edit_weights([](const std::string& name, const at::Tensor& value) {
    if (name.find(".mlp.") == std::string::npos) {
      return value.to(at::kBFloat16);
    }
    const bool down = name.find("down_proj") != std::string::npos;
    const at::TensorOptions options(at::kBFloat16);
    return down ? at::full({24, kMlpWidth}, 0.01, options)
                : at::full({kMlpWidth, 24}, 0.01, options);
  });
}

}  // namespace

TEST_CASE("a model loaded in part gives activations and refuses logits", "[lm]") {
  for (const std::string name : {"tiny-tied", "tiny-qwen3", "tiny-neox"}) {
    CAPTURE(name);
    const io::SafetensorsReader golden(test::golden("lm/" + name + ".safetensors"));
    const at::Tensor tokens = golden.read("tokens");
    for (const Head head : {Head::kLoad, Head::kSkip}) {
      const LanguageModel model(test::golden("lm") / name, at::kCPU,
                                {.num_layers = 2, .head = head});
      const auto taps = model.activations(tokens, {Site{1}});
      CHECK(test::relative_error(taps.at(0).output_BTD, golden.read("target.1")) <= 1e-5);
      CHECK_THROWS_AS(model.logits(tokens), ConfigError);
      CHECK_THROWS_AS(model.activations(tokens, {Site{2}}), ConfigError);
    }
  }
}

TEST_CASE("without a head neither head nor the last block's MLP is read", "[lm]") {
  for (const Case& names : kCases) {
    CAPTURE(names.model);
    const ModelFolder folder(names.model);
    const bool tied = lm::read_model_config(folder.path()).tied_embeddings;
    std::vector<std::string> unwanted = {names.final_norm,
                                         formatted("{}{}{}", names.layers, 2, names.mlp)};
    if (!tied) {
      unwanted.emplace_back(names.unembedding);
    }
    remove_tensors(folder, unwanted);
    const LanguageModel model(folder.path(), at::kCPU, {.head = Head::kSkip});
    const io::SafetensorsReader golden(test::golden(formatted("lm/{}.safetensors", names.model)));
    const at::Tensor tokens = golden.read("tokens");
    const auto taps = model.activations(tokens, {Site{0}, Site{2}});
    CHECK(test::relative_error(taps.at(1).output_BTD, golden.read("target.2")) <= 1e-5);
    CHECK(test::relative_error(kernels::mhsa_forward(model.attention(2), golden.read("input.2")),
                               golden.read("target.2")) <= 1e-5);
    CHECK_THROWS_WITH(model.logits(tokens), Catch::Contains("final norm"));
    CHECK_THROWS_AS(model.unembed(taps[0].input_BTD), ConfigError);
    CHECK_THROWS_AS(model.direct_logits(taps[0].input_BTD[0]), ConfigError);
    CHECK_THROWS_AS(LanguageModel(folder.path(), at::kCPU), FormatError);

    remove_tensors(folder, {formatted("{}{}{}", names.layers, 1, names.mlp)});
    CHECK_THROWS_WITH(LanguageModel(folder.path(), at::kCPU, {.head = Head::kSkip}),
                      Catch::Contains(formatted("{}{}{}", names.layers, 1, names.mlp)));
    CHECK_NOTHROW(LanguageModel(folder.path(), at::kCPU, {.num_layers = 2, .head = Head::kSkip}));
  }
}

TEST_CASE("a model of no blocks is its head", "[lm]") {
  const ModelFolder folder("tiny-plain");
  remove_tensors(folder, {"model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight"});
  const LanguageModel model(folder.path(), at::kCPU, {.num_layers = 0});
  const LanguageModel whole(test::golden("lm/tiny-plain"), at::kCPU);
  const at::Tensor d = at::linspace(-1, 2, 48).view({2, 24});
  CHECK(at::equal(model.direct_logits(d), whole.direct_logits(d)));
  CHECK_THROWS_AS(model.activations(at::zeros({1, 4}, at::kLong), {Site{0}}), ConfigError);
}

TEST_CASE("a wrong value in the embedding is named although the table stays in the file", "[lm]") {
  const ModelFolder folder("tiny-plain");
  folder.edit_weights([](const std::string& name, const at::Tensor& value) {
    at::Tensor changed = value.clone();
    if (name == "model.embed_tokens.weight") {
      changed[3][5] = std::numeric_limits<float>::infinity();
    }
    return changed;
  });
  CHECK_THROWS_WITH(LanguageModel(folder.path(), at::kCPU, {.head = Head::kSkip}),
                    Catch::Contains("model.embed_tokens.weight") && Catch::Contains("77"));
}

TEST_CASE("loading takes one copy of what is loaded and no memory of the file", "[lm]") {
  const ModelFolder folder("tiny-plain");
  widen_mlp(folder);
  // The first load starts threads and touches code.
  { const LanguageModel warm(folder.path(), at::kCPU, {.num_layers = 1, .head = Head::kSkip}); }
  const int64_t file_before = status_kib("RssFile");
  const int64_t own_before = status_kib("RssAnon");
  SECTION("converted: two of three MLPs in float32") {
    const LanguageModel model(folder.path(), at::kCPU, {.dtype = "float32", .head = Head::kSkip});
    CHECK(status_kib("RssFile") - file_before < 2 * kMlpKib);
    const int64_t own = status_kib("RssAnon") - own_before;
    CHECK(own > 11 * kMlpKib);
    CHECK(own < 14 * kMlpKib);
  }
  SECTION("as stored: the file's own memory, read when it is needed") {
    const LanguageModel model(folder.path(), at::kCPU, {.dtype = "bfloat16", .head = Head::kSkip});
    CHECK(status_kib("RssFile") - file_before < 2 * kMlpKib);
    CHECK(status_kib("RssAnon") - own_before < 2 * kMlpKib);
  }
}
