#include "lorsa/model/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "lorsa/io/safetensors.h"
#include "lorsa/model/interchange.h"
#include "support/lorsa_oracle.h"
#include "support/tensors.h"
#include "support/test.h"

using namespace lorsa;

namespace {

model::Dictionary make_lorsa(bool qk_norm) {
  at::manual_seed(31);
  const model::DictionaryShape shape = test::small_shape(model::Activation::kTopKSigned, qk_norm);
  return model::Dictionary(shape, test::random_weights(shape, at::kFloat));
}

model::CheckpointInfo make_info() {
  model::CheckpointInfo info;
  info.normalization = model::Normalization::kScaled;
  info.input_scale = 1.25;
  info.target_scale = 0.3;
  info.model_name = "tiny";
  info.weights_sha256 = "abc";
  info.site.layer = 3;
  info.input_convention = "rms_normalized";
  info.training_json = R"({"tokens":12})";
  return info;
}

void replace_in(const std::filesystem::path& path, const std::string& from, const std::string& to) {
  std::string text = io::read_file(path);
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
  io::write_file(path, text);
}

}  // namespace

TEST_CASE("a checkpoint reads back bitwise with every field", "[model]") {
  for (const bool qk_norm : {false, true}) {
    const test::TempDir dir;
    const model::Dictionary dictionary = make_lorsa(qk_norm);
    model::save_checkpoint(dir / "c", dictionary, make_info());
    const model::LoadedDictionary loaded = model::load_checkpoint(dir / "c");
    const auto a = dictionary.weights().named();
    const auto b = loaded.dictionary.weights().named();
    REQUIRE(a.size() == (qk_norm ? 10 : 8));
    REQUIRE(a.size() == b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      INFO(a[i].first);
      REQUIRE(at::equal(*a[i].second, *b[i].second));
    }
    const model::DictionaryShape& s = loaded.dictionary.shape();
    REQUIRE(s.activation == model::Activation::kTopKSigned);
    REQUIRE(s.top_k == 3);
    REQUIRE(s.attn_scale == 2.1);
    REQUIRE(s.rope == dictionary.shape().rope);
    REQUIRE(loaded.info.normalization == model::Normalization::kScaled);
    REQUIRE(loaded.info.input_scale == 1.25);
    REQUIRE(loaded.info.site.layer == 3);
    REQUIRE(loaded.info.training_json == R"({"tokens":12})");
  }
}

TEST_CASE("an SAE's checkpoint reads back bitwise under the names of encoder and decoder",
          "[model]") {
  const test::TempDir dir;
  at::manual_seed(33);
  const model::DictionaryShape shape = test::small_sae(model::Activation::kJumpRelu);
  const model::Dictionary sae(shape, test::random_weights(shape, at::kFloat));
  model::save_checkpoint(dir / "c", sae, make_info());
  const io::SafetensorsReader reader(dir / "c" / "model.safetensors");
  std::vector<std::string> names = reader.names();
  std::sort(names.begin(), names.end());
  REQUIRE(names == std::vector<std::string>{"W_dec", "W_enc", "b_dec", "b_enc", "log_threshold"});
  const model::LoadedDictionary loaded = model::load_checkpoint(dir / "c");
  REQUIRE(loaded.dictionary.shape().kind == "sae");
  for (const auto& [name, tensor] : sae.weights().named()) {
    INFO(name);
    REQUIRE(at::equal(*tensor, model::DictionaryWeights(loaded.dictionary.weights()).at(name)));
  }
  REQUIRE_THROWS_WITH(model::llamascopium_config(sae, make_info()), Catch::Contains("found sae"));
  replace_in(dir / "c" / "lorsa.json", "\"sae\"", "\"crosscoder\"");
  REQUIRE_THROWS_WITH(model::load_checkpoint(dir / "c"), Catch::Contains("kind"));
}

TEST_CASE("thresholds and virtual keys read back bitwise", "[model]") {
  const test::TempDir dir;
  at::manual_seed(32);
  model::DictionaryShape shape = test::small_shape(model::Activation::kJumpRelu, true);
  shape.num_virtual_keys = 3;
  shape.top_k = 0;
  const model::Dictionary dictionary(shape, test::random_weights(shape, at::kFloat));
  model::save_checkpoint(dir / "c", dictionary, make_info());
  const model::LoadedDictionary loaded = model::load_checkpoint(dir / "c");
  REQUIRE(loaded.dictionary.shape().activation == model::Activation::kJumpRelu);
  REQUIRE(loaded.dictionary.shape().num_virtual_keys == 3);
  REQUIRE(at::equal(loaded.dictionary.weights().log_threshold, dictionary.weights().log_threshold));
  REQUIRE(at::equal(loaded.dictionary.weights().virtual_k, dictionary.weights().virtual_k));
}

TEST_CASE("a checkpoint of the first schema is still read", "[model]") {
  const test::TempDir dir;
  const model::Dictionary dictionary = make_lorsa(true);
  model::save_checkpoint(dir / "c", dictionary, make_info());
  replace_in(dir / "c" / "lorsa.json", "lorsa-checkpoint-3", "lorsa-checkpoint-1");
  replace_in(dir / "c" / "lorsa.json", "\"num_virtual_keys\": 0,", "");
  const model::LoadedDictionary loaded = model::load_checkpoint(dir / "c");
  const auto a = dictionary.weights().named();
  const auto b = loaded.dictionary.weights().named();
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    REQUIRE(at::equal(*a[i].second, *b[i].second));
  }
}

TEST_CASE("checkpoints store W_Q as [S, D, E] under the field's names", "[model]") {
  const test::TempDir dir;
  const model::Dictionary dictionary = make_lorsa(false);
  model::save_checkpoint(dir / "c", dictionary, make_info());
  const io::SafetensorsReader reader(dir / "c" / "model.safetensors");
  REQUIRE(reader.shape("W_Q") == std::vector<int64_t>{4, 7, 6});
  REQUIRE(reader.shape("W_V") == std::vector<int64_t>{12, 7});
  const at::Tensor stored = reader.read("W_Q");
  REQUIRE(stored[2][5][1].item<float>() == dictionary.weights().W_Q[2 * 6 + 1][5].item<float>());
}

TEST_CASE("load_folded folds a scaled checkpoint", "[model]") {
  const test::TempDir dir;
  const model::Dictionary dictionary = make_lorsa(false);
  model::save_checkpoint(dir / "c", dictionary, make_info());
  const model::LoadedDictionary folded = model::load_folded(dir / "c");
  REQUIRE(folded.info.normalization == model::Normalization::kFolded);
  const at::Tensor x = at::randn({1, 6, 7});
  const at::Tensor expected = dictionary.reconstruct(x * 1.25).y_BTD / 0.3;
  REQUIRE(test::relative_error(folded.dictionary.reconstruct(x).y_BTD, expected) < 1e-5);
}

TEST_CASE("a checkpoint that contradicts itself is refused with file, expected and found",
          "[model]") {
  const test::TempDir dir;
  model::save_checkpoint(dir / "c", make_lorsa(false), make_info());
  const auto manifest = dir / "c" / "lorsa.json";
  SECTION("another width") {
    replace_in(manifest, "\"d_model\": 7", "\"d_model\": 9");
    REQUIRE_THROWS_WITH(model::load_checkpoint(dir / "c"), Catch::Contains("model.safetensors") &&
                                                               Catch::Contains("W_Q") &&
                                                               Catch::Contains("9"));
  }
  SECTION("unknown schema") {
    replace_in(manifest, "lorsa-checkpoint-3", "lorsa-checkpoint-9");
    REQUIRE_THROWS_AS(model::load_checkpoint(dir / "c"), FormatError);
  }
  SECTION("unknown normalization") {
    replace_in(manifest, "\"scaled\"", "\"maybe\"");
    REQUIRE_THROWS_WITH(model::load_checkpoint(dir / "c"),
                        Catch::Contains("folded") && Catch::Contains("maybe"));
  }
  SECTION("a missing key") {
    replace_in(manifest, "\"top_k\"", "\"top_x\"");
    REQUIRE_THROWS_WITH(model::load_checkpoint(dir / "c"), Catch::Contains("top_k"));
  }
  SECTION("contradicting sizes") {
    replace_in(manifest, "\"top_k\": 3", "\"top_k\": 30");
    REQUIRE_THROWS_AS(model::load_checkpoint(dir / "c"), FormatError);
  }
  SECTION("a cut weight file") {
    std::filesystem::resize_file(dir / "c" / "model.safetensors", 900);
    REQUIRE_THROWS_AS(model::load_checkpoint(dir / "c"), FormatError);
  }
  SECTION("NaN weights") {
    const model::Dictionary dictionary = make_lorsa(false);
    model::DictionaryWeights w = dictionary.weights();
    w.W_O = w.W_O.clone();
    w.W_O[4][2] = std::numeric_limits<float>::quiet_NaN();
    model::save_checkpoint(dir / "c", model::Dictionary(dictionary.shape(), w), make_info());
    REQUIRE_THROWS_WITH(model::load_checkpoint(dir / "c"), Catch::Contains("W_O"));
  }
  SECTION("no checkpoint at all") {
    REQUIRE_THROWS_AS(model::load_checkpoint(dir / "nowhere"), IoError);
  }
}
