// Language models in the layouts that they are downloaded in.
#include "model_folder.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "lorsa/core/error.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/lm/tokenizer.h"
#include "support/test.h"
#include "support/throws.h"

using namespace lorsa;
using lm::LanguageModel;
using test::ModelFolder;

namespace {

namespace fs = std::filesystem;

void put(const fs::path& path, const std::string& content = "x") {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

template <typename Failure>
std::string refusal(const fs::path& path) {
  return test::message_of<Failure>([&] { const LanguageModel model(path, at::kCPU); });
}

std::string tokenizer_refusal(const fs::path& path) {
  return test::message_of<FormatError>([&] { const lm::Tokenizer tokenizer(path); });
}

/// A cache of the hub with `revisions` of the golden model; `main` is what refs/main names.
fs::path make_hub(const fs::path& hub, std::vector<std::string> revisions, const char* main) {
  const fs::path root = hub / "models--org--tiny";
  put(root / "blobs/0a1b", "{}");
  for (const std::string& revision : revisions) {
    fs::create_directories(root / "snapshots" / revision);
    for (const auto& entry : fs::directory_iterator(test::golden("lm/tiny-plain"))) {
      const std::string blob = entry.path().filename().string() + "-blob";
      fs::copy_file(entry.path(), root / "blobs" / blob, fs::copy_options::skip_existing);
      fs::create_symlink("../../blobs/" + blob,
                         root / "snapshots" / revision / entry.path().filename());
    }
  }
  if (main != nullptr) {
    put(root / "refs/main", main);
  }
  return root;
}

}  // namespace

TEST_CASE("a model's folder may end in a slash and hold links into a hub's cache", "[lm]") {
  const test::TempDir dir;
  CHECK_NOTHROW(LanguageModel(test::golden("lm/tiny-plain") / "", at::kCPU));
  const fs::path root = make_hub(dir.path(), {"0a1b"}, "0a1b");
  CHECK_NOTHROW(LanguageModel(root / "snapshots/0a1b", at::kCPU));
}

TEST_CASE("a file of a model's folder is refused with the folder's name", "[lm]") {
  const ModelFolder folder("tiny-plain");
  for (const char* file : {"config.json", "model.safetensors"}) {
    test::require_parts(refusal<FormatError>(folder.path() / file),
                        {file, "a file of one; give its folder, " + folder.path().string()});
  }
  const test::TempDir dir;
  put(dir / "tiny.gguf", std::string("GGUF\3\0\0\0\1\0\0\0", 12));
  test::require_parts(refusal<FormatError>(dir / "tiny.gguf"), {"GGUF", "gguf_to_hf.py"});
  test::require_parts(refusal<FormatError>(dir.path()), {"tiny.gguf", "gguf_to_hf.py"});
}

TEST_CASE("a hub's cache is refused with the folders of its snapshots", "[lm]") {
  const test::TempDir dir;
  const fs::path one = make_hub(dir / "one", {"0a1b", "2c3d"}, "2c3d");
  const std::string main = (one / "snapshots/2c3d").string();
  for (const fs::path& path : {one, one / "", one / "snapshots", one.parent_path(), dir / "one"}) {
    const std::string message = refusal<FormatError>(path);
    test::require_parts(message, {path.string(), "cache of the Hugging Face hub", main});
    CHECK(message.find("0a1b") == std::string::npos);
  }
  const fs::path two = make_hub(dir / "two", {"0a1b", "2c3d"}, nullptr);
  test::require_parts(refusal<FormatError>(two), {(two / "snapshots/0a1b").string() + ", " +
                                                  (two / "snapshots/2c3d").string()});
}

TEST_CASE("a pruned hub's cache is refused with the link that leads to nothing", "[lm]") {
  const test::TempDir dir;
  const fs::path root = make_hub(dir.path(), {"0a1b"}, "0a1b");
  fs::remove(root / "blobs/model.safetensors-blob");
  test::require_parts(refusal<IoError>(root / "snapshots/0a1b"),
                      {"model.safetensors", "symbolic link to ../../blobs/", "Hugging Face cache"});
  fs::remove(root / "blobs/config.json-blob");
  test::require_parts(refusal<IoError>(root / "snapshots/0a1b"), {"config.json", "symbolic link"});
}

TEST_CASE("a name on the hub is refused with how to fetch it, or where it lies", "[lm]") {
  const test::TempDir dir;
  ::setenv("HF_HUB_CACHE", dir.path().c_str(), 1);
  test::require_parts(refusal<IoError>("org/tiny"),
                      {"org/tiny", "nothing of that name", "hf download org/tiny --local-dir"});
  const fs::path root = make_hub(dir.path(), {"0a1b"}, "0a1b");
  test::require_parts(refusal<IoError>("org/tiny"), {(root / "snapshots/0a1b").string()});
  ::unsetenv("HF_HUB_CACHE");
  test::require_parts(refusal<IoError>("https://huggingface.co/org/tiny"), {"is an address"});
  test::require_parts(refusal<IoError>("~/tiny"), {"~ is not expanded"});
  test::require_parts(refusal<IoError>(dir / "none/tiny"), {"there is no folder"});
}

TEST_CASE("folders in other layouts are refused with what they are", "[lm]") {
  const test::TempDir dir;
  put(dir / "meta/original/params.json", "{}");
  put(dir / "meta/original/consolidated.00.pth");
  put(dir / "meta/tokenizer.json", "{}");
  test::require_parts(refusal<FormatError>(dir / "meta"),
                      {"consolidated.00.pth", "makers' own layout", "convert"});
  test::require_parts(refusal<FormatError>(dir / "meta/original"), {"consolidated.00.pth"});
  put(dir / "adapter/adapter_config.json", "{}");
  put(dir / "adapter/adapter_model.safetensors");
  put(dir / "adapter/tokenizer.json", "{}");
  test::require_parts(refusal<FormatError>(dir / "adapter"), {"adapter (LoRA)", "merge"});
  put(dir / "run/final/lorsa.json", "{}");
  test::require_parts(refusal<FormatError>(dir / "run/final"), {"found a checkpoint", "swapped"});
  put(dir / "cache/manifest.json", "{}");
  put(dir / "cache/attention.safetensors");
  test::require_parts(refusal<FormatError>(dir / "cache"), {"found an activation cache"});
  put(dir / "peer/config.json", "{}");
  put(dir / "peer/sae_weights.safetensors");
  test::require_parts(refusal<FormatError>(dir / "peer"), {"a checkpoint of llamascopium"});
  put(dir / "above/tiny/config.json", "{}");
  test::require_parts(refusal<IoError>(dir / "above"),
                      {"did you mean " + (dir / "above/tiny").string()});
  put(dir / "headless/model.safetensors");
  test::require_parts(refusal<IoError>(dir / "headless"),
                      {"found no config.json, only model.safetensors"});
}

TEST_CASE("a folder without weights is refused with what it has", "[lm]") {
  const std::pair<const char*, std::vector<std::string>> cases[] = {
      {"pytorch_model.bin", {"torch.save", "save_pretrained"}},
      {"pytorch_model-00001-of-00002.bin", {"torch.save", "save_pretrained"}},
      {"original/consolidated.00.pth", {"makers' own layout"}},
      {"consolidated.safetensors", {"makers' names", "model*.safetensors"}},
      {"adapter_model.safetensors", {"adapter (LoRA)", "merge"}},
      {"tiny.Q4_K_M.gguf", {"gguf_to_hf.py"}},
      {"tf_model.h5", {"TensorFlow"}},
      {"flax_model.msgpack", {"Flax"}},
      {"model.fp16.safetensors", {"name it model.safetensors"}},
      {"model-00001-of-00002.safetensors",
       {"shards without their index", "model.safetensors.index.json, too"}},
      {"model.safetensors.incomplete", {"unfinished download"}},
      {"notes.txt", {"is the download complete?"}}};
  for (const auto& [file, parts] : cases) {
    CAPTURE(file);
    const ModelFolder folder("tiny-plain");
    fs::remove(folder.path() / "model.safetensors");
    put(folder.path() / file);
    test::require_parts(refusal<FormatError>(folder.path()), {"found neither"});
    test::require_parts(refusal<FormatError>(folder.path()), parts);
  }
}

TEST_CASE("all missing shards are named", "[lm]") {
  const ModelFolder folder("tiny-llama3");
  fs::remove(folder.path() / "model-00001-of-00004.safetensors");
  fs::remove(folder.path() / "model-00003-of-00004.safetensors");
  test::require_parts(refusal<FormatError>(folder.path()),
                      {"expected 4 files, found all but 2: model-00001-of-00004.safetensors, "
                       "model-00003-of-00004.safetensors; is the download complete?"});
}

TEST_CASE("weights under two names are read once", "[lm]") {
  const ModelFolder folder("tiny-llama3");
  const at::Tensor tokens = at::arange(5).reshape({1, 5});
  const at::Tensor expected = LanguageModel(folder.path(), at::kCPU).logits(tokens);
  // Mistral's folders hold everything twice, the second time under other names.
  put(folder.path() / "consolidated.safetensors");
  CHECK(at::equal(LanguageModel(folder.path(), at::kCPU).logits(tokens), expected));
}

TEST_CASE("quantised weights are refused by what stands beside them", "[lm]") {
  for (const char* companion : {"qweight", "weight_scale_inv", "weight.absmax", "scales"}) {
    const ModelFolder folder("tiny-plain");
    const std::string base = "model.layers.1.mlp.up_proj.";
    {
      const io::SafetensorsReader reader(folder.path() / "model.safetensors");
      io::NamedTensors tensors;
      for (const std::string& name : reader.names()) {
        tensors.emplace_back(name, reader.read(name));
      }
      tensors.emplace_back(base + companion, at::zeros({2}, at::kInt));
      io::write_safetensors(folder.path() / "model.safetensors", tensors);
    }
    test::require_parts(refusal<FormatError>(folder.path()), {base + companion, "quantised"});
  }
}

TEST_CASE("a model of text and images is refused", "[lm]") {
  const ModelFolder folder("tiny-plain");
  folder.edit_config([](io::Json& json) {
    json = io::Json{{"architectures", {"LlavaForConditionalGeneration"}}, {"text_config", json}};
  });
  test::require_parts(refusal<FormatError>(folder.path()),
                      {"config.json", "text_config", "nested"});
}

TEST_CASE("a tokenizer in another format is refused with how to convert it", "[lm]") {
  for (const char* file : {"tokenizer.model", "vocab.json", "tekken.json"}) {
    const ModelFolder folder("tiny-plain");
    fs::remove(folder.path() / "tokenizer.json");
    put(folder.path() / file);
    test::require_parts(tokenizer_refusal(folder.path()),
                        {"tokenizer.json", file, "AutoTokenizer"});
  }
  const test::TempDir dir;
  const fs::path root = make_hub(dir.path(), {"0a1b"}, "0a1b");
  test::require_parts(tokenizer_refusal(root), {(root / "snapshots/0a1b").string()});
}

TEST_CASE("files of a model's folder that are something else are named", "[lm]") {
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 269060552\n";
  for (const char* file : {"config.json", "model.safetensors"}) {
    const ModelFolder folder("tiny-plain");
    put(folder.path() / file, pointer);
    test::require_parts(refusal<FormatError>(folder.path()),
                        {(folder.path() / file).string(), "Git LFS pointer", "269060552"});
  }
  const ModelFolder folder("tiny-llama3");
  put(folder.path() / "model.safetensors.index.json", "{\"error\": \"Entry not found\"}");
  test::require_parts(refusal<FormatError>(folder.path()), {"the answer of a server"});
}
