#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "lorsa/io/safetensors.h"
#include "lorsa/model/interchange.h"
#include "peer_folders.h"
#include "support/lorsa_oracle.h"
#include "support/test.h"
#include "support/throws.h"

using namespace lorsa;

namespace {

namespace fs = std::filesystem;

using test::copy_folder;
using test::peer;
using test::require_refused;
using test::trained_info;
using test::with_config;
using test::with_tensor;

}  // namespace

TEST_CASE("what llamascopium's files cannot say is refused by name", "[model]") {
  struct Case {
    void (*change)(model::DictionaryShape&, model::CheckpointInfo&);
    std::vector<std::string> parts;
  };

  const std::vector<Case> cases = {
      {[](auto& shape, auto&) { shape.activation = model::Activation::kTopKSigned; },
       {"activation", "topk_signed"}},
      {[](auto& shape, auto&) { shape.num_virtual_keys = 2; },
       {"num_virtual_keys", "expected 0", "found 2"}},
      {[](auto& shape, auto&) { shape.rope.scaling = kernels::RopeScaling::kLinear; },
       {"rope.scaling", "linear"}},
      {[](auto& shape, auto&) { shape.rope.base = 100.5; }, {"rope.base", "100.5"}},
      {[](auto&, auto& info) { info.site.layer = -1; }, {"layer", "-1"}}};
  for (const Case& c : cases) {
    model::DictionaryShape shape = test::small_shape(model::Activation::kTopK, false);
    model::CheckpointInfo info = trained_info();
    c.change(shape, info);
    const test::TempDir dir;
    const model::Dictionary dictionary(shape, test::random_weights(shape, at::kFloat));
    test::require_parts(test::message_of<FormatError>(
                            [&] { model::save_llamascopium(dir / "a", dictionary, info); }),
                        c.parts);
    REQUIRE_FALSE(fs::exists(dir / "a"));
  }
}

TEST_CASE("configurations that a Lorsa does not have are refused by key, expected and found",
          "[model]") {
  struct Case {
    const char* key;
    io::Json value;
    std::vector<std::string> parts;
  };

  const std::vector<Case> cases = {
      {"sae_type", "sae", {"sae_type", "expected lorsa", "found sae"}},
      {"sae_type", "molt", {"sae_type", "found molt"}},
      {"act_fn", "layertopk", {"act_fn", "batchtopk", "found layertopk"}},
      {"norm_activation", "token-wise", {"norm_activation", "inference", "found token-wise"}},
      {"sparsity_include_decoder_norm", false, {"sparsity_include_decoder_norm", "found false"}},
      {"d_model", 0, {"d_model", "found 0"}},
      {"d_model", 64.5, {"d_model", "64.5"}},
      {"d_model", -64, {"d_model", "-64"}},
      {"d_model", 32, {"W_Q", "[4, 32, 16]", "[4, 64, 16]"}},
      {"d_model", 1e300, {"d_model"}},
      {"expansion_factor", 1e300, {"expansion_factor", "64", "1e+300"}},
      {"expansion_factor", 0.001, {"expansion_factor", "0.001"}},
      {"expansion_factor", nullptr, {"expansion_factor", "a number", "null"}},
      {"n_qk_heads", 3, {"num_qk_heads", "3", "128"}},
      {"n_qk_heads", int64_t{1} << 40, {"n_qk_heads", "2^31"}},
      {"d_qk_head", 8, {"W_Q", "[4, 64, 8]"}},
      {"top_k", 129, {"top_k", "129", "128"}},
      {"top_k", 0, {"top_k", "0"}},
      {"positional_embedding_type", "alibi", {"positional_embedding_type", "alibi"}},
      {"rotary_dim", 7, {"rotary_dim", "even", "found 7"}},
      {"rotary_dim", 18, {"rotary_dim", "d_qk_head = 16", "found 18"}},
      {"rotary_dim", 4, {"rotary_sin", "[32, 4]", "[32, 8]"}},
      {"rotary_base", 20000, {"rotary_sin", "position 1"}},
      {"rotary_base", -1, {"rotary_base", "-1"}},
      {"rotary_adjacent_pairs", true, {"rotary_sin", "position 1, column 1"}},
      {"rotary_scale", 2, {"rotary_scale", "expected 1", "found 2"}},
      {"use_NTK_by_parts_rope", true, {"NTK_by_parts_high_freq_factor", "found 1, 1 and 1"}},
      {"use_post_qk_ln", true, {"normalization_type", "RMS", "null"}},
      {"normalization_type", "batch", {"normalization_type", "RMS", "batch"}},
      {"attn_scale", 0.0, {"attn_scale", "0"}},
      {"attn_scale", "4", {"attn_scale", "a number", "4"}},
      {"n_ctx", 31, {"mask", "[31, 31]", "[32, 32]"}},
      {"n_ctx", 1 << 30, {"mask", "[1073741824, 1073741824]", "[32, 32]"}},
      {"hook_point_in", "resid", {"hook_point_in", "blocks.<layer>.<point>", "resid"}},
      {"hook_point_in", "blocks.7.ln1.hook_normalized", {"hook_point", "blocks.7", "blocks.6"}},
      {"hook_point_out", "blocks.6.ln1.hook_normalized", {"two points"}},
      {"hook_point_out", "blocks.6.hook_mlp_out", {"dataset_average_activation_norm", "mlp"}},
      {"use_decoder_bias", false, {"b_D", "one more"}},
      {"use_decoder_bias", 1, {"use_decoder_bias", "true or false"}},
      {"eps", -1.0, {"eps", "-1"}},
      {"jumprelu_threshold_window", "wide", {"jumprelu_threshold_window", "wide"}},
      {"lorsa", 3, {"lorsa", "an object"}}};
  for (const Case& c : cases) {
    INFO(c.key << " = " << c.value.dump());
    const test::TempDir dir;
    const fs::path folder =
        with_config(dir, "dataset-wise", [&](io::Json& config) { config[c.key] = c.value; });
    require_refused(folder, c.parts);
    require_refused(folder, {folder.string()});
  }
  for (const char* key :
       {"d_model", "expansion_factor", "hook_point_in", "hook_point_out", "n_qk_heads", "n_ctx"}) {
    const test::TempDir dir;
    require_refused(with_config(dir, "folded", [&](io::Json& config) { config.erase(key); }),
                    {"config.json", key, "found nothing"});
  }
}

TEST_CASE("NaN and trailing text in config.json are refused with their place", "[model]") {
  const test::TempDir dir;
  copy_folder(peer("folded"), dir / "a");
  std::string text = io::read_file(dir / "a/config.json");
  const size_t at = text.find("2.0,");
  REQUIRE(at != std::string::npos);
  io::write_file(dir / "a/config.json", text.replace(at, 3, "NaN"));
  require_refused(dir / "a", {"config.json", "byte", "expected JSON"});
}

TEST_CASE("tensors that do not fit are refused by name, expected and found", "[model]") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const test::TempDir dir;
  const io::SafetensorsReader reader(peer("dataset-wise") / test::kPeerWeights);
  const auto refuse = [&](const char* name, const at::Tensor& value,
                          const std::vector<std::string>& parts) {
    const fs::path folder = with_tensor(dir, "dataset-wise", name, value);
    require_refused(folder, parts);
    require_refused(folder, {(folder / test::kPeerWeights).string(), name});
  };
  SECTION("missing") {
    refuse("W_O", {}, {"[128, 64]", "none of that name"});
  }
  SECTION("a missing buffer") {
    refuse("mask", {}, {"[32, 32]", "none of that name"});
  }
  SECTION("another shape") {
    refuse("b_V", at::zeros({64}), {"[128]", "[64]"});
  }
  SECTION("float64") {
    refuse("b_V", at::zeros({128}, at::kDouble), {"bfloat16", "found float64"});
  }
  SECTION("whole numbers") {
    refuse("b_V", at::zeros({128}, at::kLong), {"float32", "Long"});
  }
  SECTION("NaN") {
    at::Tensor w = reader.read("W_V");
    w[3][5] = nan;
    refuse("W_V", w, {"finite", "nan", "197"});
  }
  SECTION("a mask that is not causal") {
    at::Tensor mask = reader.read("mask");
    mask[4][5] = true;
    refuse("mask", mask, {"causal", "found true", "query 4, key 5"});
  }
  SECTION("a mask that hides what is past") {
    at::Tensor mask = reader.read("mask");
    mask[9][2] = false;
    refuse("mask", mask, {"causal", "found false", "query 9, key 2"});
  }
  SECTION("a mask of numbers") {
    refuse("mask", at::ones({32, 32}).tril(), {"bool", "float32"});
  }
  SECTION("another IGNORE") {
    refuse("IGNORE", at::scalar_tensor(-1e5, at::kFloat), {"-infinity", "-100000"});
  }
  SECTION("another rotary table") {
    at::Tensor cos = reader.read("rotary_cos");
    cos[7][3] = nan;
    refuse("rotary_cos", cos, {"position 7, column 3", "nan"});
  }
  SECTION("one more") {
    refuse("W_S", at::zeros({2}), {"one more"});
  }
  SECTION("no mean norm") {
    refuse("dataset_average_activation_norm.blocks.6.hook_attn_out", {}, {"none of that name"});
  }
  SECTION("a cut file") {
    copy_folder(peer("dataset-wise"), dir / "cut");
    fs::resize_file(dir / "cut" / test::kPeerWeights, 50000);
    require_refused(dir / "cut", {test::kPeerWeights, "cut file"});
  }
  SECTION("no checkpoint at all") {
    test::require_parts(test::message_of<IoError>(
                            [&] { static_cast<void>(model::load_llamascopium(dir / "nowhere")); }),
                        {(dir / "nowhere").string(), "config.json"});
  }
}

TEST_CASE("scaled weights need positive mean norms; folded ones do not look at them", "[model]") {
  const char* name = "dataset_average_activation_norm.blocks.6.hook_attn_out";
  for (const double norm : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    const test::TempDir a, b;
    const at::Tensor value = at::scalar_tensor(norm, at::kFloat);
    const fs::path scaled = with_tensor(a, "dataset-wise", name, value);
    require_refused(scaled, {test::kPeerWeights, "positive mean norms"});
    const fs::path as_folded = with_tensor(b, "folded", name, value);
    REQUIRE_FALSE(model::load_llamascopium(as_folded).scales);
    test::require_parts(
        test::message_of<FormatError>([&] {
          static_cast<void>(model::load_llamascopium(as_folded, model::ReadAs::kScaled));
        }),
        {test::kPeerWeights, "positive mean norms"});
  }
  const test::TempDir dir;
  const fs::path without = with_tensor(dir, "folded", name, {});
  require_refused(without, {name, "none of that name"});
}

TEST_CASE("our own fields may not contradict the others", "[model]") {
  const test::TempDir dir;
  const model::DictionaryShape shape = test::small_shape(model::Activation::kTopK, false);
  const model::Dictionary dictionary(shape, test::random_weights(shape, at::kFloat));
  model::save_llamascopium(dir / "a", dictionary, trained_info());
  io::Json config = io::read_json(dir / "a/config.json");
  REQUIRE(config["lorsa"]["input_scale"] == 1.0 / 3.0);
  SECTION("a scale") {
    config["lorsa"]["input_scale"] = 0.34;
    io::write_json(dir / "a/config.json", config);
    require_refused(dir / "a", {"config.json", "lorsa", "input_scale", "agrees"});
  }
  SECTION("a layer") {
    config["lorsa"]["language_model"]["layer"] = 4;
    io::write_json(dir / "a/config.json", config);
    require_refused(dir / "a", {"config.json", "lorsa", "layer", "agrees"});
  }
  SECTION("a base") {
    config["lorsa"]["rope"] = io::read_json(dir / "a/config.json")["lorsa"].value(
        "rope", io::Json{{"rotary_dim", 4},
                         {"base", 200.0},
                         {"scaling", "none"},
                         {"factor", 1.0},
                         {"low_freq_factor", 1.0},
                         {"high_freq_factor", 4.0},
                         {"original_context", 8192},
                         {"layout", "half_split"}});
    io::write_json(dir / "a/config.json", config);
    require_refused(dir / "a", {"config.json", "lorsa", "rope", "agrees"});
  }
  SECTION("another field") {
    config["lorsa"]["top_k"] = 4;
    io::write_json(dir / "a/config.json", config);
    require_refused(dir / "a", {"config.json", "lorsa", "found top_k"});
  }
}
