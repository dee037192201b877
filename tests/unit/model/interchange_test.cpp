#include "lorsa/model/interchange.h"

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "lorsa/io/safetensors.h"
#include "peer_folders.h"
#include "support/lorsa_oracle.h"
#include "support/tensors.h"
#include "support/test.h"
#include "support/throws.h"

using namespace lorsa;

namespace {

namespace fs = std::filesystem;

using test::peer;
using test::trained_info;
using test::with_config;

model::Dictionary folded(const model::LoadedDictionary& loaded) {
  model::Dictionary dictionary = loaded.dictionary;
  if (loaded.info.normalization == model::Normalization::kScaled) {
    dictionary.fold(loaded.info.input_scale, loaded.info.target_scale);
  }
  return dictionary;
}

/// [P, H]: what keep_heads() kept.
at::Tensor dense(const kernels::TopK& kept, int64_t H) {
  return at::zeros({kept.value_PK.size(0), H})
      .scatter_(1, kept.head_PK.to(at::kLong), kept.value_PK);
}

/// Writes a Lorsa as ours, as theirs, and as ours again: both of ours must have the same bytes.
void require_same_after_a_round(const model::Dictionary& dictionary,
                                const model::CheckpointInfo& info,
                                std::optional<int64_t> n_ctx = std::nullopt) {
  const test::TempDir dir;
  model::save_checkpoint(dir / "ours", dictionary, info);
  model::save_llamascopium(dir / "theirs", dictionary, info, n_ctx);
  const model::ImportedDictionary back = model::load_llamascopium(dir / "theirs");
  REQUIRE(back.remarks.empty());
  REQUIRE(back.certain);
  model::CheckpointInfo again = back.loaded.info;
  if (n_ctx) {
    REQUIRE(again.llamascopium_json == formatted(R"({{"config":{{"n_ctx":{}}}}})", *n_ctx));
    again.llamascopium_json.clear();
  }
  model::save_checkpoint(dir / "again", back.loaded.dictionary, again);
  for (const char* file : {"lorsa.json", "model.safetensors"}) {
    INFO(file);
    REQUIRE(io::read_file(dir / "again" / file) == io::read_file(dir / "ours" / file));
  }
}

}  // namespace

TEST_CASE("a Lorsa read from llamascopium computes what llamascopium computed", "[model]") {
  for (const std::string name : {"dataset-wise", "folded", "jumprelu", "batchtopk"}) {
    INFO(name);
    const model::ImportedDictionary imported = model::load_llamascopium(peer(name));
    const io::SafetensorsReader reference(peer(name) / "reference.safetensors");
    const at::Tensor y = folded(imported.loaded).reconstruct(reference.read("x")).y_BTD;
    REQUIRE(test::relative_error(y, reference.read("y")) < 1e-5);
  }
}

TEST_CASE("z and kept heads are those of llamascopium", "[model]") {
  for (const std::string name : {"dataset-wise", "folded"}) {
    INFO(name);
    const model::LoadedDictionary loaded = model::load_llamascopium(peer(name)).loaded;
    const io::SafetensorsReader reference(peer(name) / "reference.safetensors");
    const at::Tensor x = reference.read("x") * loaded.info.input_scale;
    const at::Tensor z = reference.read("hidden_pre").flatten(0, 1);
    const at::Tensor a = reference.read("feature_acts").flatten(0, 1);
    REQUIRE(test::relative_error(loaded.dictionary.pre_activations(x), z) < 1e-5);
    const at::Tensor ours = dense(loaded.dictionary.reconstruct(x).kept, 128);
    REQUIRE(at::equal(ours > 0, a > 0));
    REQUIRE(test::relative_error(ours, a) < 1e-5);
  }
}

TEST_CASE("config.json and mean norms become the shape and the scales", "[model]") {
  const model::ImportedDictionary a = model::load_llamascopium(peer("dataset-wise"));
  REQUIRE(a.stated == "dataset-wise");
  REQUIRE_FALSE(a.certain);
  REQUIRE(a.dtype == "float32");
  REQUIRE(a.remarks.empty());
  REQUIRE(a.loaded.info.normalization == model::Normalization::kScaled);
  REQUIRE(a.loaded.info.input_scale == 8.0 / 13.765454292297363);
  REQUIRE(a.loaded.info.target_scale == 8.0 / 12.280138969421387);
  REQUIRE(a.loaded.info.site.layer == 6);
  const model::DictionaryShape& s = a.loaded.dictionary.shape();
  REQUIRE(s.num_ov_heads == 128);
  REQUIRE(s.top_k == 8);
  REQUIRE(s.activation == model::Activation::kTopK);
  REQUIRE(s.rope.rotary_dim == 8);
  REQUIRE(s.rope.layout == kernels::RopeLayout::kHalfSplit);

  const model::ImportedDictionary b = model::load_llamascopium(peer("jumprelu"));
  const model::DictionaryShape& t = b.loaded.dictionary.shape();
  REQUIRE(t.activation == model::Activation::kJumpRelu);
  REQUIRE(t.num_ov_heads == 30);
  REQUIRE(t.qk_norm);
  REQUIRE(t.qk_norm_eps == 1e-5);
  REQUIRE(t.rope.layout == kernels::RopeLayout::kAdjacentPairs);
  REQUIRE(t.rope.scaling == kernels::RopeScaling::kLlama3);
  REQUIRE(t.rope.original_context == 64);

  const model::ImportedDictionary c = model::load_llamascopium(peer("batchtopk"));
  REQUIRE(c.dtype == "bfloat16");
  REQUIRE(c.loaded.info.normalization == model::Normalization::kFolded);
  REQUIRE(c.loaded.info.input_scale == 1.0);
  REQUIRE(c.loaded.dictionary.shape().rope.rotary_dim == 0);
  REQUIRE(c.loaded.dictionary.shape().attn_scale == 1.7);
  REQUIRE_FALSE(c.loaded.dictionary.weights().b_D.any().item<bool>());
}

TEST_CASE("a llamascopium checkpoint comes back with the same bytes", "[model]") {
  for (const std::string name : {"dataset-wise", "folded", "jumprelu", "batchtopk"}) {
    INFO(name);
    const test::TempDir dir;
    const model::LoadedDictionary imported = model::load_llamascopium(peer(name)).loaded;
    model::save_checkpoint(dir / "ours", imported.dictionary, imported.info);
    const model::LoadedDictionary ours = model::load_checkpoint(dir / "ours");
    model::save_llamascopium(dir / "back", ours.dictionary, ours.info);
    REQUIRE(io::read_file(dir / "back/config.json") == io::read_file(peer(name) / "config.json"));
    if (name != "batchtopk") {
      REQUIRE(io::read_file(dir / "back" / test::kPeerWeights) ==
              io::read_file(peer(name) / test::kPeerWeights));
      continue;
    }
    // bfloat16 comes back as float32 with the same values.
    const io::SafetensorsReader before(peer(name) / test::kPeerWeights);
    const io::SafetensorsReader after(dir / "back" / test::kPeerWeights);
    REQUIRE(before.names().size() == after.names().size());
    for (const std::string& tensor : before.names()) {
      INFO(tensor);
      REQUIRE(at::equal(before.read(tensor).to(at::kDouble), after.read(tensor).to(at::kDouble)));
    }
  }
}

TEST_CASE("a Lorsa comes back from llamascopium's files with every bit", "[model]") {
  using model::Activation;
  for (const Activation activation :
       {Activation::kTopK, Activation::kBatchTopK, Activation::kRelu, Activation::kJumpRelu}) {
    for (const bool qk_norm : {false, true}) {
      at::manual_seed(61);
      const model::DictionaryShape shape = test::small_shape(activation, qk_norm);
      require_same_after_a_round(model::Dictionary(shape, test::random_weights(shape, at::kFloat)),
                                 trained_info());
    }
  }
}

TEST_CASE("every RoPE that llamascopium has comes back", "[model]") {
  const std::vector<void (*)(kernels::RopeSpec&)> changes = {
      [](kernels::RopeSpec& rope) { rope.rotary_dim = 0; },
      [](kernels::RopeSpec& rope) { rope.layout = kernels::RopeLayout::kAdjacentPairs; },
      [](kernels::RopeSpec& rope) {
        rope.scaling = kernels::RopeScaling::kLlama3;
        rope.base = 500000.0;
        rope.factor = 8.0;
        rope.original_context = 8192;
      },
      // Factors that no scaling uses.
      [](kernels::RopeSpec& rope) {
        rope.factor = 3.0;
        rope.original_context = 77;
      }};
  for (const auto& change : changes) {
    model::DictionaryShape shape = test::small_shape(model::Activation::kTopK, false);
    change(shape.rope);
    const model::Dictionary dictionary(shape, test::random_weights(shape, at::kFloat));
    require_same_after_a_round(dictionary, trained_info());
  }
}

TEST_CASE("folded weights, no training and a context length come back", "[model]") {
  at::manual_seed(62);
  const model::DictionaryShape shape = test::small_shape(model::Activation::kTopK, true);
  const model::Dictionary dictionary(shape, test::random_weights(shape, at::kFloat));
  model::CheckpointInfo info = trained_info();
  info.normalization = model::Normalization::kFolded;
  require_same_after_a_round(dictionary, info);
  require_same_after_a_round(dictionary, info, 40);
  model::CheckpointInfo plain;
  plain.training_json = "{}";
  require_same_after_a_round(dictionary, plain);
  REQUIRE(io::parse_json(model::llamascopium_config(dictionary, plain), "config").size() == 30);
}

TEST_CASE("a number of heads that d_model does not divide comes back", "[model]") {
  for (const int64_t H : {1, 5, 100, 117, 333}) {
    model::DictionaryShape shape = test::small_shape(model::Activation::kTopK, false);
    shape.num_ov_heads = H;
    shape.num_qk_heads = 1;
    shape.top_k = 1;
    shape.d_model = 49;
    require_same_after_a_round(model::Dictionary(shape, test::random_weights(shape, at::kFloat)),
                               trained_info());
  }
}

TEST_CASE("absent optional keys take llamascopium's defaults", "[model]") {
  const test::TempDir dir;
  const fs::path folder = with_config(dir, "dataset-wise", [](io::Json& config) {
    for (const char* key : {"sae_type", "use_decoder_bias", "norm_activation", "attn_scale",
                            "sparsity_include_decoder_norm", "rotary_base", "rotary_scale",
                            "use_triton_kernel", "eps", "normalization_type"}) {
      config.erase(key);
    }
    config.erase("top_k");
    config.erase("act_fn");
  });
  const model::DictionaryShape shape = model::load_llamascopium(folder).loaded.dictionary.shape();
  REQUIRE(shape.activation == model::Activation::kRelu);
  REQUIRE(shape.top_k == 50);
  REQUIRE(shape.attn_scale == 4.0);
  REQUIRE(shape.qk_norm_eps == 1e-6);
}

TEST_CASE("weights can be read as the other normalization than the files state", "[model]") {
  const model::ImportedDictionary a =
      model::load_llamascopium(peer("dataset-wise"), model::ReadAs::kFolded);
  REQUIRE(a.loaded.info.normalization == model::Normalization::kFolded);
  REQUIRE(a.loaded.info.input_scale == 8.0 / 13.765454292297363);
  REQUIRE(a.scales->target == 8.0 / 12.280138969421387);
  const model::ImportedDictionary b =
      model::load_llamascopium(peer("folded"), model::ReadAs::kScaled);
  REQUIRE(b.loaded.info.normalization == model::Normalization::kScaled);
  REQUIRE(b.loaded.info.input_scale == a.loaded.info.input_scale);
  // A folded checkpoint that is read as scaled computes something else.
  const io::SafetensorsReader reference(peer("folded") / "reference.safetensors");
  const at::Tensor y = folded(b.loaded).reconstruct(reference.read("x")).y_BTD;
  REQUIRE(test::relative_error(y, reference.read("y")) > 0.1);
}

TEST_CASE("unknown keys are kept and remarked on", "[model]") {
  const test::TempDir dir;
  const fs::path folder = with_config(dir, "folded", [](io::Json& config) {
    config["skip_bos"] = {{"a", 1}};
    config["jumprelu_threshold_window"] = 0.25;
    config["old_context_len"] = 4096;
  });
  const model::ImportedDictionary imported = model::load_llamascopium(folder);
  REQUIRE(imported.remarks.size() == 1);
  test::require_parts(imported.remarks[0], {"config.json", "skip_bos", "unknown"});
  model::save_checkpoint(dir / "ours", imported.loaded.dictionary, imported.loaded.info);
  const model::LoadedDictionary ours = model::load_checkpoint(dir / "ours");
  model::save_llamascopium(dir / "back", ours.dictionary, ours.info);
  REQUIRE(io::read_json(dir / "back/config.json") == io::read_json(folder / "config.json"));
}

TEST_CASE("what a Lorsa determines wins over what it came with", "[model]") {
  model::LoadedDictionary loaded = model::load_llamascopium(peer("folded")).loaded;
  loaded.info.llamascopium_json =
      R"({"config":{"top_k":5,"n_ctx":32,"rotary_dim":6,"expansion_factor":2.001,
          "hook_point_in":"blocks.6.other"}})";
  const auto config = [&](std::optional<int64_t> n_ctx) {
    return io::parse_json(model::llamascopium_config(loaded.dictionary, loaded.info, n_ctx),
                          "config");
  };
  REQUIRE(config(64)["top_k"] == 8);
  REQUIRE(config(64)["rotary_dim"] == 8);
  REQUIRE(config(64)["expansion_factor"] == 2.001);
  REQUIRE(config(64)["n_ctx"] == 64);
  REQUIRE(config(std::nullopt)["n_ctx"] == 32);
  REQUIRE(config(64)["hook_point_in"] == "blocks.6.other");
  loaded.info.site.layer = 5;
  REQUIRE(config(64)["hook_point_in"] == "blocks.5.ln1.hook_normalized");
}

TEST_CASE("a decoder bias that was trained later is written", "[model]") {
  const test::TempDir dir;
  const model::LoadedDictionary loaded = model::load_llamascopium(peer("batchtopk")).loaded;
  model::DictionaryWeights weights = loaded.dictionary.weights();
  weights.b_D = at::ones({12});
  model::save_llamascopium(dir / "a", model::Dictionary(loaded.dictionary.shape(), weights),
                           loaded.info);
  REQUIRE(io::read_json(dir / "a/config.json")["use_decoder_bias"] == true);
  REQUIRE(
      at::equal(io::SafetensorsReader(dir / "a" / test::kPeerWeights).read("b_D"), weights.b_D));
}

TEST_CASE("the kind of a checkpoint folder is told by its files", "[model]") {
  using model::CheckpointKind;
  const test::TempDir dir;
  REQUIRE(model::detect_kind(peer("folded")) == CheckpointKind::kLlamascopium);
  REQUIRE(model::detect_kind(peer("original-relu")) == CheckpointKind::kOriginal);
  const model::DictionaryShape shape = test::small_shape(model::Activation::kTopK, false);
  model::save_checkpoint(dir / "ours",
                         model::Dictionary(shape, test::random_weights(shape, at::kFloat)),
                         trained_info());
  REQUIRE(model::detect_kind(dir / "ours") == CheckpointKind::kOwn);
  io::write_file(dir / "ours/final.pth", "x");
  const auto message = [&](const fs::path& folder) {
    return test::message_of<FormatError>([&] { static_cast<void>(model::detect_kind(folder)); });
  };
  test::require_parts(message(dir / "ours"), {"lorsa.json, final.pth", "`from`"});
  test::require_parts(message(dir.path()), {"sae_weights.safetensors", "none of them"});
  fs::create_directories(dir / "dcp/sae_weights.dcp");
  test::require_parts(message(dir / "dcp"), {"sae_weights.dcp", "with llamascopium"});
  REQUIRE_THROWS_AS(model::detect_kind(dir / "nowhere"), IoError);
}
