#include <ATen/ATen.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <filesystem>
#include <functional>

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "lorsa/io/safetensors.h"
#include "lorsa/model/interchange.h"
#include "model/pickle_filter.h"
#include "model/torch_archive.h"
#include "support/tensors.h"
#include "support/test.h"
#include "support/throws.h"

using namespace lorsa;

namespace {

namespace fs = std::filesystem;

fs::path original(const std::string& name) {
  return test::golden("interchange/original-" + name);
}

void copy_original(const fs::path& from, const fs::path& to) {
  fs::create_directories(to);
  for (const char* file : {"config.json", "final.pth"}) {
    fs::copy_file(from / file, to / file);
  }
}

void write_state_dict(const fs::path& path, const io::NamedTensors& tensors) {
  c10::Dict<std::string, at::Tensor> dict;
  for (const auto& [name, tensor] : tensors) {
    dict.insert(name, tensor);
  }
  const std::vector<char> bytes = torch::jit::pickle_save(dict);
  io::write_file(path, {bytes.data(), bytes.size()});
}

/// A copy of the golden folder `name` with config and tensors changed by the functions.
fs::path edited(const test::TempDir& dir,
                const std::string& name,
                const std::function<void(io::Json&)>& edit_config,
                const std::function<void(io::NamedTensors&)>& edit_tensors = {}) {
  const fs::path folder = dir / "edited";
  fs::remove_all(folder);
  copy_original(original(name), folder);
  if (edit_config) {
    io::Json config = io::read_json(folder / "config.json");
    edit_config(config);
    io::write_json(folder / "config.json", config);
  }
  if (edit_tensors) {
    io::NamedTensors tensors = model::read_torch_state_dict(folder / "final.pth");
    edit_tensors(tensors);
    write_state_dict(folder / "final.pth", tensors);
  }
  return folder;
}

void require_original_refused(const fs::path& folder, const std::vector<std::string>& parts) {
  test::require_parts(
      test::message_of<FormatError>([&] { static_cast<void>(model::load_original(folder)); }),
      parts);
}

at::Tensor& tensor_of(io::NamedTensors& tensors, const std::string& name) {
  for (auto& [other, tensor] : tensors) {
    if (other == name) {
      return tensor;
    }
  }
  FAIL("no tensor " << name);
  return tensors.front().second;
}

}  // namespace

TEST_CASE("a Lorsa read from final.pth computes what its formulas say", "[model]") {
  for (const std::string name : {"relu", "signed"}) {
    INFO(name);
    model::LoadedDictionary loaded = model::load_original(original(name)).loaded;
    REQUIRE(loaded.info.normalization == model::Normalization::kScaled);
    loaded.dictionary.fold(loaded.info.input_scale, loaded.info.target_scale);
    const io::SafetensorsReader reference(original(name) / "reference.safetensors");
    const at::Tensor y = loaded.dictionary.reconstruct(reference.read("x")).y_BTD;
    REQUIRE(test::relative_error(y, reference.read("y")) < 1e-5);
  }
}

TEST_CASE("the original's config.json becomes shape, scales and layer", "[model]") {
  const model::ImportedDictionary a = model::load_original(original("relu"));
  REQUIRE(a.stated == "avg_norm");
  REQUIRE(a.dtype == "float32");
  REQUIRE(a.remarks.empty());
  const model::DictionaryShape& s = a.loaded.dictionary.shape();
  REQUIRE(s.d_model == 10);
  REQUIRE(s.num_ov_heads == 12);
  REQUIRE(s.num_qk_heads == 3);
  REQUIRE(s.activation == model::Activation::kTopK);
  REQUIRE(s.rope.scaling == kernels::RopeScaling::kLlama3);
  REQUIRE(s.rope.layout == kernels::RopeLayout::kAdjacentPairs);
  REQUIRE(a.loaded.info.input_scale == std::sqrt(10.0) / 4.25);
  REQUIRE(a.loaded.info.target_scale == std::sqrt(10.0) / 2.5);
  REQUIRE(a.loaded.info.site.layer == 3);
  REQUIRE(a.loaded.info.model_name == "EleutherAI/pythia-160m");

  const model::ImportedDictionary b = model::load_original(original("signed"));
  REQUIRE(b.loaded.dictionary.shape().activation == model::Activation::kTopKSigned);
  REQUIRE(b.loaded.dictionary.shape().num_virtual_keys == 2);
  REQUIRE(b.loaded.dictionary.shape().attn_scale == 8.0);
  REQUIRE(b.remarks.size() == 1);
  test::require_parts(b.remarks[0], {"virtual_kv_num", "after their own position"});
}

TEST_CASE("an original goes on to llamascopium and computes the same there", "[model]") {
  const test::TempDir dir;
  const model::LoadedDictionary loaded = model::load_original(original("relu")).loaded;
  model::save_llamascopium(dir / "peer", loaded.dictionary, loaded.info, 16);
  model::LoadedDictionary back = model::load_llamascopium(dir / "peer").loaded;
  back.dictionary.fold(back.info.input_scale, back.info.target_scale);
  const io::SafetensorsReader reference(original("relu") / "reference.safetensors");
  const at::Tensor y = back.dictionary.reconstruct(reference.read("x")).y_BTD;
  REQUIRE(test::relative_error(y, reference.read("y")) < 1e-5);
}

TEST_CASE("originals that are no Lorsa of ours are refused by key, expected and found", "[model]") {
  struct Case {
    const char* key;
    io::Json value;
    std::vector<std::string> parts;
  };

  const std::vector<Case> cases = {
      {"mode", "jumprelu", {"mode", "expected top_k", "jumprelu"}},
      {"d_ov_head", 2, {"d_ov_head", "expected 1", "found 2"}},
      {"n_qk_heads", 5, {"num_qk_heads = 5", "12"}},
      {"top_k", 13, {"top_k = 13", "12"}},
      {"top_k", nullptr, {"top_k", "null"}},
      {"avg_norm", nullptr, {"avg_norm", "found none"}},
      {"avg_norm", {{"in", 1.0}}, {"avg_norm", "out", "found nothing"}},
      {"avg_norm", {{"in", 0.0}, {"out", 1.0}}, {"avg_norm", "in", "found 0"}},
      {"virtual_kv_num", 1, {"virtual_k", "[1, 3, 8]", "none of that name"}},
      {"virtual_kv_num", -1, {"virtual_kv_num", "-1"}},
      {"positional_embedding_type", "alibi", {"positional_embedding_type", "alibi"}},
      {"rotary_scale", 2, {"rotary_scale", "found 2"}},
      {"rotary_dim", nullptr, {"rotary_dim", "found nothing"}},
      {"old_context_len", nullptr, {"old_context_len", "found nothing"}},
      {"use_NTK_by_parts_rope", false, {"rotary_sin", "position"}},
      {"n_ctx", 17, {"mask", "[17, 17]", "[16, 16]"}},
      {"d_model", 11, {"W_Q", "[3, 11, 8]", "[3, 10, 8]"}}};
  for (const Case& c : cases) {
    INFO(c.key << " = " << c.value.dump());
    const test::TempDir dir;
    const fs::path folder = edited(dir, "relu", [&](io::Json& config) { config[c.key] = c.value; });
    require_original_refused(folder, c.parts);
    require_original_refused(folder, {folder.string()});
  }
  const test::TempDir dir;
  const fs::path unscaled =
      edited(dir, "relu", [](io::Json& config) { config["avg_norm"] = nullptr; });
  REQUIRE(model::load_original(unscaled, model::ReadAs::kFolded).loaded.info.normalization ==
          model::Normalization::kFolded);
}

TEST_CASE("a state dict with tensors that do not fit is refused", "[model]") {
  const test::TempDir dir;
  const auto refuse = [&](const std::string& name,
                          const std::function<void(io::NamedTensors&)>& edit,
                          const std::vector<std::string>& parts) {
    const fs::path folder = edited(dir, name, {}, edit);
    require_original_refused(folder, parts);
    require_original_refused(folder, {(folder / "final.pth").string()});
  };
  // What the test itself writes is read.
  REQUIRE_NOTHROW(model::load_original(edited(dir, "signed", {}, [](io::NamedTensors&) {})));
  refuse("signed",
         [](io::NamedTensors& tensors) { tensor_of(tensors, "virtual_v")[1][2][0] = 0.5; },
         {"virtual_v", "zeros", "0.5"});
  refuse("signed",
         [](io::NamedTensors& tensors) {
           tensor_of(tensors, "mask") = at::ones({16, 18}, at::kBool);
         },
         {"mask", "causal", "query 0, key 3"});
  refuse("relu",
         [](io::NamedTensors& tensors) {
           tensor_of(tensors, "W_O") = tensor_of(tensors, "W_O").to(at::kDouble);
         },
         {"W_O", "float32", "float64"});
  refuse("relu", [](io::NamedTensors& tensors) { tensor_of(tensors, "b_O")[4] = HUGE_VAL; },
         {"b_O", "finite", "inf", "index 4"});
  refuse("relu",
         [](io::NamedTensors& tensors) { tensors.emplace_back("threshold", at::ones({12})); },
         {"threshold", "one more"});
}

TEST_CASE("strided, narrow and shared tensors are read as their values", "[model]") {
  const test::TempDir dir;
  const at::Tensor base = at::arange(24, at::kFloat).view({4, 6});
  write_state_dict(
      dir / "a.pth",
      {{"t", base.t()}, {"part", base.slice(1, 1, 6, 2)}, {"half", base.to(at::kHalf)}});
  for (const auto& [name, tensor] : model::read_torch_state_dict(dir / "a.pth")) {
    INFO(name);
    const at::Tensor expected = name == "t"      ? base.t()
                                : name == "part" ? base.slice(1, 1, 6, 2)
                                                 : base.to(at::kHalf);
    REQUIRE(at::equal(tensor, expected));
  }
}

TEST_CASE("files that are no state dict are refused by path", "[model]") {
  const test::TempDir dir;
  const auto refuse = [&](const std::vector<std::string>& parts) {
    const std::string message = test::message_of<FormatError>(
        [&] { static_cast<void>(model::read_torch_state_dict(dir / "a.pth")); });
    test::require_parts(message, {(dir / "a.pth").string()});
    test::require_parts(message, parts);
  };
  io::write_file(dir / "a.pth", "\x80\x02}q\x01.");
  refuse({"zip archive", "1.6"});
  io::write_file(dir / "a.pth", "PK\x03\x04 and nothing more");
  refuse({"LibTorch found"});
  const auto pickled = [&](const c10::IValue& value) {
    const std::vector<char> bytes = torch::jit::pickle_save(value);
    io::write_file(dir / "a.pth", {bytes.data(), bytes.size()});
  };
  pickled(at::ones({2}));
  refuse({"dictionary of tensors", "Tensor"});
  c10::Dict<std::string, int64_t> numbers;
  numbers.insert("a", 1);
  pickled(numbers);
  refuse({"names with tensors", "Int"});
}

TEST_CASE("pickles of other classes and opcodes are refused before anything is built", "[model]") {
  const auto refuse = [](const std::string& pickle, const std::vector<std::string>& parts) {
    test::require_parts(
        test::message_of<FormatError>([&] { static_cast<void>(model::with_plain_dicts(pickle)); }),
        parts);
  };
  using namespace std::string_literals;
  const std::string dict =
      "\x80\x02"
      "ccollections\nOrderedDict\nq\x00)Rq\x01}b."s;
  REQUIRE(model::with_plain_dicts(dict) == "\x80\x02}q\x01}\x86."s);
  // A name that looks like opcodes stays a name.
  const std::string name = "\x80\x02X\x04\x00\x00\x00h\x00)R."s;
  REQUIRE(model::with_plain_dicts(name) == name);
  refuse(
      "\x80\x02"
      "cposix\nsystem\n."s,
      {"class posix system"});
  refuse("\x80\x04\x95."s, {"opcode 149 at byte 2"});
  refuse(
      "\x80\x02"
      "ccollections\nOrderedDict\nq\x00]."s,
      {"not made empty"});
  refuse(dict.substr(0, dict.size() - 1), {"its end"});
  refuse("\x80\x02X\xff\xff\xff\xff"s, {"its end"});
}

TEST_CASE("a cut or damaged final.pth is refused, not half read", "[model]") {
  const test::TempDir dir;
  const std::string bytes = io::read_file(original("relu") / "final.pth");
  const fs::path path = dir / "a.pth";
  const auto is_read = [&](const std::string& content) {
    io::write_file(path, content);
    try {
      for (const auto& [name, tensor] : model::read_torch_state_dict(path)) {
        static_cast<void>(tensor.to(at::kDouble).sum().item<double>());
      }
      return true;
    } catch (const FormatError&) {
      return false;
    }
  };
  for (size_t size = 0; size < bytes.size(); size += 61) {
    REQUIRE_FALSE(is_read(bytes.substr(0, size)));
  }
  // The pickle is the first record. Every changed byte is refused or gives tensors that can be read
  // to their end (is_read lets nothing but FormatError pass).
  const size_t end = bytes.find("PK\x07\x08");
  REQUIRE(end < bytes.size());
  int refused = 0;
  for (size_t at = 64; at < end; ++at) {
    for (const char flip : {'\x01', '\x40', '\x80'}) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      refused += is_read(damaged) ? 0 : 1;
    }
  }
  REQUIRE(refused > 1000);
  // 120 is what the storages of W_V and W_O claim to hold.
  int larger = 0;
  for (size_t at = bytes.find("K\x78"); at < end; at = bytes.find("K\x78", at + 1)) {
    std::string damaged = bytes;
    damaged[at + 1] = '\xf0';
    INFO("byte " << at + 1);
    REQUIRE_FALSE(is_read(damaged));
    ++larger;
  }
  REQUIRE(larger >= 2);
}

TEST_CASE("a tensor that reaches past its record is refused", "[model]") {
  const test::TempDir dir;
  const fs::path path = dir / "a.pth";
  fs::copy_file(original("relu") / "final.pth", path);
  std::string bytes = io::read_file(path);
  // W_Q's shape [3, 10, 8] becomes [3, 11, 8], with the strides (80, 8, 1): one row too many.
  const size_t shape = bytes.find("K\x03K\x0aK\x08\x87");
  REQUIRE(shape != std::string::npos);
  bytes[shape + 3] = '\x0b';
  io::write_file(path, bytes);
  test::require_parts(
      test::message_of<FormatError>([&] { static_cast<void>(model::read_torch_state_dict(path)); }),
      {path.string(), "W_Q", "record of 992 bytes", "found 960"});
}
