#include "lorsa/core/error.h"
#include "lorsa/lm/language_model.h"
#include "model_folder.h"
#include "support/test.h"

using namespace lorsa;
using namespace lorsa::lm;
using kernels::RopeScaling;
using test::ModelFolder;

TEST_CASE("read_model_config reads what transformers writes", "[lm]") {
  const ModelConfig config = read_model_config(test::golden("lm/tiny-llama3"));
  CHECK(config.architecture == "LlamaForCausalLM");
  CHECK(config.name == "tiny-llama3");
  CHECK(config.layers.size() == 3);
  CHECK(input_convention(config.layers.at(0)) == "rms_normalized");
  CHECK(config.vocabulary_size == 97);
  CHECK(config.d_model == 24);
  CHECK(config.num_layers == 3);
  CHECK(config.num_heads == 6);
  CHECK(config.num_kv_heads == 2);
  CHECK(config.head_width == 8);
  CHECK(config.d_mlp == 34);
  CHECK(config.max_positions == 256);
  CHECK(config.layers.at(0).norm_eps == 1e-6);
  CHECK_FALSE(config.tied_embeddings);
  CHECK_FALSE(config.layers.at(0).qkv_bias);
  CHECK(config.layers.at(0).rope.rotary_dim == 8);
  CHECK(config.layers.at(0).rope.base == 500.0);
  CHECK(config.layers.at(0).rope.scaling == RopeScaling::kLlama3);
  CHECK(config.layers.at(0).rope.factor == 8.0);
  CHECK(config.layers.at(0).rope.low_freq_factor == 1.0);
  CHECK(config.layers.at(0).rope.high_freq_factor == 4.0);
  CHECK(config.layers.at(0).rope.original_context == 128);
  const ModelConfig tied = read_model_config(test::golden("lm/tiny-tied") / "");
  CHECK(tied.name == "tiny-tied");
  CHECK(tied.tied_embeddings);
  CHECK(tied.layers.at(0).qkv_bias);
  CHECK(tied.layers.at(0).mlp_bias);
  CHECK(tied.layers.at(0).rope.scaling == RopeScaling::kLinear);
  CHECK(tied.layers.at(0).rope.factor == 2.5);
}

TEST_CASE("read_model_config reads both spellings of the rotary settings", "[lm]") {
  const ModelFolder folder("tiny-llama3");
  const kernels::RopeSpec expected = read_model_config(folder.path()).layers.at(0).rope;
  folder.edit_config([](io::Json& json) {
    json["rope_parameters"] = json["rope_scaling"];
    json["rope_parameters"]["rope_theta"] = 500.0;
    json.erase("rope_scaling");
    json.erase("rope_theta");
  });
  CHECK(read_model_config(folder.path()).layers.at(0).rope == expected);
  folder.edit_config([](io::Json& json) {
    json["rope_scaling"] = json["rope_parameters"];
    json["rope_scaling"]["type"] = json["rope_scaling"]["rope_type"];
    json["rope_scaling"].erase("rope_type");
    json["rope_theta"] = 500.0;
  });
  CHECK(read_model_config(folder.path()).layers.at(0).rope == expected);
  folder.edit_config([](io::Json& json) { json["rope_scaling"]["factor"] = 4.0; });
  CHECK_THROWS_WITH(read_model_config(folder.path()), Catch::Contains("disagree"));
  folder.edit_config([](io::Json& json) {
    json.erase("rope_scaling");
    json["rope_theta"] = 10000.0;
  });
  CHECK_THROWS_WITH(read_model_config(folder.path()), Catch::Contains("disagrees"));
  folder.edit_config([](io::Json& json) {
    json.erase("rope_theta");
    json["rope_parameters"] = {{"rope_theta", 1234.0}};
  });
  CHECK(read_model_config(folder.path()).layers.at(0).rope.scaling == RopeScaling::kNone);
  CHECK(read_model_config(folder.path()).layers.at(0).rope.base == 1234.0);
}

TEST_CASE("read_model_config fills in what old files leave out", "[lm]") {
  const ModelFolder folder("tiny-plain");
  folder.edit_config([](io::Json& json) {
    for (const char* key :
         {"num_key_value_heads", "head_dim", "attention_bias", "mlp_bias", "dtype", "rope_scaling",
          "rope_theta", "tie_word_embeddings", "hidden_act"}) {
      json.erase(key);
    }
    json["_name_or_path"] = "someone/some-model";
  });
  const ModelConfig config = read_model_config(folder.path());
  CHECK(config.name == "someone/some-model");
  CHECK(config.num_kv_heads == 3);
  CHECK(config.head_width == 8);
  CHECK(config.layers.at(0).rope.base == 10000.0);
  CHECK_FALSE(config.tied_embeddings);
  folder.edit_config([](io::Json& json) { json["_name_or_path"] = "/somewhere/else"; });
  CHECK(read_model_config(folder.path()).name == "model");
}

TEST_CASE("read_model_config reads Qwen3's settings", "[lm]") {
  const ModelFolder folder("tiny-qwen3");
  const ModelConfig config = read_model_config(folder.path());
  CHECK(config.architecture == "Qwen3ForCausalLM");
  CHECK(config.layers.at(0).qk_norm);
  CHECK_FALSE(config.layers.at(0).qkv_bias);
  CHECK(config.tied_embeddings);
  CHECK(config.head_width == 10);
  CHECK(config.layers.at(0).rope.base == 1000.0);
  CHECK(config.layers.at(0).rope.rotary_dim == 10);
  CHECK(read_model_config(test::golden("lm/tiny-qwen3-bias")).layers.at(0).qkv_bias);
  CHECK_FALSE(read_model_config(test::golden("lm/tiny-plain")).layers.at(0).qk_norm);
  // transformers' default, which has nothing to do with D / N.
  folder.edit_config([](io::Json& json) { json.erase("head_dim"); });
  CHECK(read_model_config(folder.path()).head_width == 128);
  folder.edit_config([](io::Json& json) { json["layer_types"][1] = "sliding_attention"; });
  CHECK_THROWS_WITH(read_model_config(folder.path()),
                    Catch::Contains("layer_types") && Catch::Contains("sliding_attention"));
  folder.edit_config([](io::Json& json) { json["use_sliding_window"] = true; });
  CHECK_THROWS_WITH(read_model_config(folder.path()), Catch::Contains("use_sliding_window"));
}

TEST_CASE("read_model_config reads GPT-NeoX's settings in both spellings", "[lm]") {
  const ModelConfig sequential = read_model_config(test::golden("lm/tiny-neox-sequential"));
  CHECK(sequential.architecture == "GPTNeoXForCausalLM");
  CHECK(input_convention(sequential.layers.at(0)) == "layer_norm_output");
  CHECK_FALSE(sequential.layers.at(0).parallel_residual);
  CHECK_FALSE(sequential.layers.at(0).qkv_bias);
  CHECK(sequential.layers.at(0).activation == Activation::kGeluTanh);
  CHECK(sequential.layers.at(0).norm_eps == 1e-3);
  CHECK(sequential.layers.at(0).rope.rotary_dim == 8);  // the whole part of 14 * 0.6
  CHECK(sequential.layers.at(0).rope.base == 500.0);
  const ModelConfig respelled = read_model_config(test::golden("lm/tiny-neox-respelled"));
  CHECK(respelled.layers.at(0).parallel_residual);
  CHECK(respelled.layers.at(0).qkv_bias);
  CHECK(respelled.layers.at(0).rope.rotary_dim == 4);
  CHECK(respelled.layers.at(0).rope.base == 300.0);
  CHECK(respelled.layers.at(0).rope.scaling == RopeScaling::kLinear);
  CHECK(respelled.layers.at(0).rope.factor == 3.0);

  const ModelFolder folder("tiny-neox");
  CHECK(read_model_config(folder.path()).layers.at(0).activation == Activation::kGelu);
  folder.edit_config([](io::Json& json) {
    for (const char* key : {"rotary_pct", "partial_rotary_factor", "rotary_emb_base", "rope_theta",
                            "use_parallel_residual", "attention_bias", "layer_norm_eps"}) {
      json.erase(key);
    }
  });
  const ModelConfig defaults = read_model_config(folder.path());
  CHECK(defaults.layers.at(0).rope.rotary_dim == 2);
  CHECK(defaults.layers.at(0).rope.base == 10000.0);
  CHECK(defaults.layers.at(0).parallel_residual);
  CHECK(defaults.layers.at(0).qkv_bias);
  CHECK(defaults.layers.at(0).norm_eps == 1e-5);
}

TEST_CASE("read_model_config names what it does not support of GPT-NeoX", "[lm]") {
  struct Case {
    const char* key;
    io::Json value;
    const char* message;
  };

  const std::vector<Case> cases = {
      {"hidden_act", "relu", "relu"},
      {"rotary_pct", 0.5, "disagrees"},
      {"rotary_emb_base", 500, "disagrees"},
      {"rope_parameters", {{"rope_theta", 20000}}, "disagrees"},
      {"num_attention_heads", 4, "num_attention_heads"},
      {"layer_norm_eps", -1.0, "layer_norm_eps"},
      {"rope_scaling", {{"rope_type", "yarn"}, {"factor", 2.0}}, "yarn"},
  };
  for (const Case& wrong : cases) {
    const ModelFolder folder("tiny-neox");
    folder.edit_config([&](io::Json& json) { json[wrong.key] = wrong.value; });
    CAPTURE(wrong.key, wrong.value.dump());
    CHECK_THROWS_AS(read_model_config(folder.path()), FormatError);
    CHECK_THROWS_WITH(read_model_config(folder.path()),
                      Catch::Contains("config.json") && Catch::Contains(wrong.message));
  }
  for (const double share : {0.0, 1.5, 0.3}) {  // 0.3 of 10 dimensions is odd
    const ModelFolder folder("tiny-neox");
    folder.edit_config([&](io::Json& json) {
      json["rotary_pct"] = share;
      json.erase("partial_rotary_factor");
    });
    CHECK_THROWS_WITH(read_model_config(folder.path()), Catch::Contains("rotated"));
  }
}

TEST_CASE("read_model_config names what it does not support", "[lm]") {
  struct Case {
    const char* key;
    io::Json value;
    const char* message;
  };

  const std::vector<Case> cases = {
      {"architectures", {"MambaForCausalLM"}, "MambaForCausalLM"},
      {"architectures", "LlamaForCausalLM", "expected a list of names"},
      {"architectures", {1}, "expected a list of names"},
      {"architectures", {"LlamaForCausalLM", "Qwen3ForCausalLM"}, "expected one that is known"},
      {"architectures", {"LlamaModel"}, "[\"LlamaModel\"] with model_type \"llama\""},
      {"model_type", "mistral", "disagree"},
      {"model_type", "qwen3", "expected \"llama\""},
      {"architectures", {"Gemma3ForCausalLM"}, "LlamaForCausalLM, Qwen3ForCausalLM"},
      {"hidden_act", "gelu", "gelu"},
      {"dtype", "float8_e4m3fn", "float8_e4m3fn"},
      {"torch_dtype", "torch.int8", "int8"},
      {"rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}}, "yarn"},
      {"rope_scaling", {{"type", "dynamic"}, {"factor", 4.0}}, "dynamic"},
      {"rope_scaling", {{"rope_type", "linear"}, {"type", "llama3"}, {"factor", 4.0}}, "disagree"},
      {"rope_scaling", {{"rope_type", "linear"}}, "factor"},
      {"rope_scaling", {{"rope_type", "linear"}, {"factor", -1.0}}, "factor"},
      {"rope_scaling", "linear", "rope_scaling"},
      {"rope_parameters", {{"rope_type", "longrope"}, {"factor", 4.0}}, "longrope"},
      {"rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}, "full_attention"},
      {"rope_parameters", {{"rope_type", "default"}, {"mrope_section", {1, 3}}}, "mrope_section"},
      {"rope_parameters", {{"partial_rotary_factor", 0.5}}, "partial_rotary_factor"},
      {"rope_parameters", 3, "rope_parameters"},
      {"rope_theta", 0.0, "rope_theta"},
      {"quantization_config", {{"quant_method", "gptq"}}, "quantization_config"},
      {"partial_rotary_factor", 0.5, "partial_rotary_factor"},
      {"num_key_value_heads", 2, "num_key_value_heads"},
      {"num_attention_heads", 0, "num_attention_heads"},
      {"hidden_size", -24, "hidden_size"},
      {"hidden_size", "24", "hidden_size"},
      {"hidden_size", 24.5, "hidden_size"},
      {"head_dim", 7, "odd"},
      {"vocab_size", nullptr, "vocab_size"},
  };
  for (const Case& wrong : cases) {
    const ModelFolder folder("tiny-plain");
    folder.edit_config([&](io::Json& json) { json[wrong.key] = wrong.value; });
    CAPTURE(wrong.key, wrong.value.dump());
    CHECK_THROWS_AS(read_model_config(folder.path()), FormatError);
    CHECK_THROWS_WITH(read_model_config(folder.path()),
                      Catch::Contains("config.json") && Catch::Contains(wrong.message));
  }
  const test::TempDir empty;
  CHECK_THROWS_AS(read_model_config(empty.path()), IoError);
}

TEST_CASE("read_model_config goes by model_type where architectures names nothing", "[lm]") {
  const auto with = [](const std::string& name, const io::Json& architectures) {
    const ModelFolder folder(name);
    folder.edit_config([&](io::Json& json) { json["architectures"] = architectures; });
    return read_model_config(folder.path());
  };
  CHECK(with("tiny-plain", nullptr).architecture == "LlamaForCausalLM");
  CHECK(with("tiny-qwen3", io::Json::array()).architecture == "Qwen3ForCausalLM");
  CHECK(with("tiny-neox", nullptr).architecture == "GPTNeoXForCausalLM");
  CHECK(with("tiny-plain", {"EagleForCausalLM", "LlamaForCausalLM"}).architecture ==
        "LlamaForCausalLM");
  const ModelFolder folder("tiny-plain");
  folder.edit_config([](io::Json& json) { json.erase("model_type"); });
  CHECK(read_model_config(folder.path()).architecture == "LlamaForCausalLM");
  folder.edit_config([](io::Json& json) { json.erase("architectures"); });
  CHECK_THROWS_WITH(read_model_config(folder.path()),
                    Catch::Contains("no model_type") && Catch::Contains("LlamaForCausalLM"));
  folder.edit_config([](io::Json& json) { json["model_type"] = "mamba"; });
  CHECK_THROWS_WITH(read_model_config(folder.path()), Catch::Contains("model_type \"mamba\""));
}

TEST_CASE("read_model_config takes any dtype but those of quantised weights", "[lm]") {
  const ModelFolder folder("tiny-plain");
  const std::vector<io::Json> dtypes = {"auto", "torch.float32", "torch.bfloat16", "float64",
                                        nullptr};
  for (const io::Json& dtype : dtypes) {
    CAPTURE(dtype.dump());
    folder.edit_config([&](io::Json& json) { json["torch_dtype"] = json["dtype"] = dtype; });
    CHECK_NOTHROW(read_model_config(folder.path()));
  }
}

TEST_CASE("read_model_config reads whole numbers that are written as floats", "[lm]") {
  const ModelFolder folder("tiny-llama3");
  folder.edit_config([](io::Json& json) {
    json["rope_scaling"]["original_max_position_embeddings"] = 128.0;
    json["max_position_embeddings"] = 256.0;
    json["hidden_size"] = 24.0;
  });
  const ModelConfig config = read_model_config(folder.path());
  CHECK(config.layers.at(0).rope.original_context == 128);
  CHECK(config.max_positions == 256);
  CHECK(config.d_model == 24);
  for (const double wrong : {128.5, 1e300, -128.0}) {
    CAPTURE(wrong);
    folder.edit_config(
        [&](io::Json& json) { json["rope_scaling"]["original_max_position_embeddings"] = wrong; });
    CHECK_THROWS_WITH(read_model_config(folder.path()),
                      Catch::Contains("original_max_position_embeddings"));
  }
}
