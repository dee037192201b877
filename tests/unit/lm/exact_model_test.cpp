#include <ATen/ATen.h>

#include "data/attention_file.h"
#include "lorsa/core/error.h"
#include "lorsa/io/safetensors.h"
#include "lorsa/lm/language_model.h"
#include "support/temp_dir.h"
#include "support/tensors.h"
#include "support/test.h"

// Every architecture against transformers (scripts/golden/models.py): random models with grouped
// keys, head widths other than D / N, biases, QK norm, partial rotation, linear and llama3 scaling,
// both spellings of the rotary settings, parallel and sequential blocks, tied and untied heads, one
// file and several shards, stored in float32, bfloat16 and float16. Errors are max abs difference /
// max abs.

using namespace lorsa;
using namespace lorsa::lm;

namespace {

constexpr double kTolerance = 1e-5;

const std::vector<std::string> kModels = {
    "tiny-tied",       "tiny-llama3", "tiny-plain",           "tiny-qwen3",
    "tiny-qwen3-bias", "tiny-neox",   "tiny-neox-sequential", "tiny-neox-respelled"};
const std::vector<std::string> kLongModels = {"long-llama3", "long-qwen3", "long-neox"};

struct ExactGolden {
  explicit ExactGolden(const std::string& name)
      : model(test::golden("lm") / name, at::kCPU),
        reader(test::golden("lm/" + name + ".safetensors")),
        tokens_BT(reader.read("tokens").to(at::kLong)) {
    for (int64_t layer = 0; layer < model.config().num_layers; ++layer) {
      layers.push_back(layer);
      sites.push_back({layer, Component::kAttention});
    }
  }

  [[nodiscard]] at::Tensor input(int64_t layer) const {
    return reader.read(formatted("input.{}", layer));
  }

  [[nodiscard]] at::Tensor target(int64_t layer) const {
    return reader.read(formatted("target.{}", layer));
  }

  LanguageModel model;
  io::SafetensorsReader reader;
  at::Tensor tokens_BT;
  std::vector<int64_t> layers;
  std::vector<Site> sites;  // their attention
};

/// The layer's attention as a cache stores it: attention.safetensors and its part of the manifest.
kernels::Mhsa stored_and_read(const kernels::Mhsa& attention, int64_t d_model) {
  const test::TempDir folder;
  data::Manifest manifest;
  manifest.context_length = 1;
  manifest.rows_per_shard = 1;
  manifest.d_model = d_model;
  manifest.d_model = d_model;
  manifest.attention = data::save_attention(folder.path(), attention, d_model);
  data::write_manifest(folder.path(), manifest);
  return data::load_attention(folder.path(), data::read_manifest(folder.path()));
}

}  // namespace

TEST_CASE("logits equal those of transformers", "[lm]") {
  for (const std::string& name : kModels) {
    CAPTURE(name);
    const ExactGolden golden(name);
    const at::Tensor logits = golden.model.logits(golden.tokens_BT);
    CHECK(logits.scalar_type() == at::kFloat);
    CHECK(test::relative_error(logits, golden.reader.read("logits")) <= kTolerance);
    CHECK(at::equal(golden.model.logits(golden.tokens_BT.to(at::kInt)), logits));
  }
}

TEST_CASE("activations equal the hooks of transformers", "[lm]") {
  for (const std::string& name : kModels) {
    const ExactGolden golden(name);
    const auto found = golden.model.activations(golden.tokens_BT, golden.sites);
    REQUIRE(found.size() == golden.layers.size());
    for (const int64_t layer : golden.layers) {
      CAPTURE(name, layer);
      const SiteActivations& taps = found[static_cast<size_t>(layer)];
      CHECK(test::relative_error(taps.input_BTD, golden.input(layer)) <= kTolerance);
      CHECK(test::relative_error(taps.output_BTD, golden.target(layer)) <= kTolerance);
    }
    const auto top = golden.model.activations(golden.tokens_BT, {golden.sites.back()});
    CHECK(at::equal(top.at(0).input_BTD, found.back().input_BTD));
    CHECK(at::equal(top.at(0).output_BTD, found.back().output_BTD));
    CHECK(golden.model.activations(golden.tokens_BT, {}).empty());
  }
}

TEST_CASE("attention applied to the cached input gives the cached target", "[lm]") {
  for (const std::string& name : kModels) {
    const ExactGolden golden(name);
    for (const int64_t layer : golden.layers) {
      CAPTURE(name, layer);
      const kernels::Mhsa attention = golden.model.attention(layer);
      const at::Tensor found = kernels::mhsa_forward(attention, golden.input(layer));
      CHECK(test::relative_error(found, golden.target(layer)) <= kTolerance);
    }
  }
}

TEST_CASE("attention.safetensors applied to the cached input gives the cached target", "[lm]") {
  for (const std::string& name : kModels) {
    const ExactGolden golden(name);
    for (const int64_t layer : golden.layers) {
      CAPTURE(name, layer);
      const kernels::Mhsa attention = golden.model.attention(layer);
      const kernels::Mhsa stored = stored_and_read(attention, golden.model.config().d_model);
      const at::Tensor found = kernels::mhsa_forward(stored, golden.input(layer));
      CHECK(test::relative_error(found, golden.target(layer)) <= kTolerance);
      CHECK(at::equal(found, kernels::mhsa_forward(attention, golden.input(layer))));
    }
  }
}

TEST_CASE("positions up to 12,000 equal those of transformers", "[lm]") {
  for (const std::string& name : kLongModels) {
    const ExactGolden golden(name);
    REQUIRE(golden.tokens_BT.size(1) == 12000);
    const at::Tensor position = golden.reader.read("positions");
    REQUIRE(position.max().item<int64_t>() == 11999);
    const auto sampled = [&](const at::Tensor& value) { return value.index_select(1, position); };
    const auto found = golden.model.activations(golden.tokens_BT, golden.sites);
    for (const int64_t layer : golden.layers) {
      CAPTURE(name, layer);
      const SiteActivations& taps = found[static_cast<size_t>(layer)];
      CHECK(test::relative_error(sampled(taps.input_BTD), golden.input(layer)) <= kTolerance);
      CHECK(test::relative_error(sampled(taps.output_BTD), golden.target(layer)) <= kTolerance);
      const at::Tensor own = kernels::mhsa_forward(golden.model.attention(layer), taps.input_BTD);
      CHECK(test::relative_error(sampled(own), golden.target(layer)) <= kTolerance);
    }
    CAPTURE(name);
    const at::Tensor logits = sampled(golden.model.logits(golden.tokens_BT));
    CHECK(test::relative_error(logits, golden.reader.read("logits")) <= kTolerance);
  }
}

TEST_CASE("a bfloat16 run stays near the float32 run", "[lm]") {
  for (const std::string name : {"tiny-llama3", "tiny-qwen3", "tiny-neox"}) {
    CAPTURE(name);
    const ExactGolden golden(name);
    const LanguageModel model(test::golden("lm") / name, at::kCPU, {.dtype = "bfloat16"});
    CHECK(model.compute_dtype() == at::kBFloat16);
    const auto taps = model.activations(golden.tokens_BT, {Site{0}});
    CHECK(taps.at(0).input_BTD.scalar_type() == at::kBFloat16);
    CHECK(test::relative_error(taps[0].input_BTD, golden.input(0)) <= 0.01);
    CHECK(test::relative_error(taps[0].output_BTD, golden.target(0)) <= 0.03);
    CHECK(test::relative_error(model.logits(golden.tokens_BT), golden.reader.read("logits")) <=
          0.1);
    CHECK(model.attention(0).W_Q.scalar_type() == at::kFloat);
    const at::Tensor d = at::linspace(-1, 2, 2 * model.config().d_model).view({2, -1});
    CHECK(test::relative_error(model.direct_logits(d), golden.model.direct_logits(d)) <= 1e-2);
  }
}
