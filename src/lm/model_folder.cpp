#include "lm/model_folder.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "core/file_content.h"
#include "io/folder_kind.h"
#include "lorsa/core/error.h"
#include "lorsa/io/files.h"

namespace lorsa::lm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExpected = "a model folder (config.json, tokenizer.json, *.safetensors)";
constexpr const char* kSave =
    "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW) of transformers";

struct Hint {
  std::string_view file;  ///< a name; '*' at its beginning or end stands for anything
  const char* found;
  const char* next;
};

/// What weights come as. The first that fits is named.
constexpr std::array kOtherWeights = {
    Hint{"adapter_model.safetensors", "an adapter (LoRA) alone",
         "merge it into its base model (merge_and_unload of peft) and save that"},
    Hint{"adapter_model.bin", "an adapter (LoRA) alone",
         "merge it into its base model (merge_and_unload of peft) and save that"},
    Hint{"adapter_config.json", "an adapter (LoRA) alone",
         "merge it into its base model (merge_and_unload of peft) and save that"},
    Hint{"pytorch_model*", "weights as torch.save writes them", kSave},
    Hint{"consolidated.safetensors", "weights under their makers' names",
         "download the files model*.safetensors, too"},
    Hint{"consolidated.*", "the makers' own layout",
         "download the files model*.safetensors of its Hugging Face folder, or convert it with "
         "convert_llama_weights_to_hf of transformers"},
    Hint{"*.gguf", "a GGUF file", "scripts/gguf_to_hf.py makes a Hugging Face folder of it"},
    Hint{"tf_model.h5", "weights of TensorFlow", kSave},
    Hint{"flax_model.msgpack", "weights of Flax", kSave},
    Hint{"*.onnx", "an ONNX model", "download its model*.safetensors"},
    Hint{"*.npz", "weights of NumPy", "download its model*.safetensors"},
    Hint{"*.safetensors", "weights of another name",
         "if it is the whole model, name it model.safetensors"},
};

constexpr const char* kSaveTokenizer =
    "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) of transformers makes a "
    "tokenizer.json";
constexpr std::array kOtherTokenizers = {
    Hint{"tokenizer.model", "a tokenizer of sentencepiece or tiktoken", kSaveTokenizer},
    Hint{"vocab.json", "a vocabulary with merges", kSaveTokenizer},
    Hint{"tekken.json", "a tokenizer of tekken", kSaveTokenizer},
    Hint{"spiece.model", "a tokenizer of sentencepiece", kSaveTokenizer},
    Hint{"vocab.txt", "a vocabulary of WordPiece", kSaveTokenizer},
};

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool fits(const Hint& hint, const std::string& name) {
  return hint.file.front() == '*'  ? name.ends_with(hint.file.substr(1))
         : hint.file.back() == '*' ? name.starts_with(hint.file.substr(0, hint.file.size() - 1))
                                   : name == hint.file;
}

/// "found NAME, <what it is>; <next step>", empty if no name fits a hint.
template <size_t N>
std::string hinted(const std::array<Hint, N>& hints, const std::vector<std::string>& names) {
  for (const Hint& hint : hints) {
    for (const std::string& name : names) {
      if (fits(hint, name)) {
        return formatted("found {}, {}; {}", name, hint.found, hint.next);
      }
    }
  }
  return "";
}

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) {
    all += (all.empty() ? "" : ", ") + text;
  }
  return all;
}

/// Folders of a hub cache's models--ORG--NAME: that of refs/main alone where it is there, else all.
std::vector<std::string> snapshots_of(const fs::path& root) {
  std::string revision;
  try {
    revision = is_there(root / "refs/main") ? io::read_file(root / "refs/main") : "";
  } catch (const Error&) {
    // Only for a hint.
  }
  while (!revision.empty() && (revision.back() == '\n' || revision.back() == ' ')) {
    revision.pop_back();
  }
  if (!revision.empty() && is_there(root / "snapshots" / revision)) {
    return {(root / "snapshots" / revision).string()};
  }
  std::vector<std::string> all;
  for (const std::string& name : names_in(root / "snapshots")) {
    all.push_back((root / "snapshots" / name).string());
  }
  return all;
}

/// What a path of a hub's cache leads to.
std::vector<std::string> snapshots_below(const fs::path& path) {
  const fs::path plain = path.has_filename() ? path : path.parent_path();
  if (is_there(plain / "snapshots")) {
    return snapshots_of(plain);
  }
  if (plain.filename() == "snapshots") {
    return snapshots_of(plain.parent_path());
  }
  std::vector<std::string> all;
  for (const fs::path& hub : {plain, plain / "hub"}) {
    for (const std::string& name : names_in(hub)) {
      if (name.starts_with("models--")) {
        const auto some = snapshots_of(hub / name);
        all.insert(all.end(), some.begin(), some.end());
      }
    }
  }
  return all;
}

/// Whether the text has the form of a hub's "ORG/NAME".
bool is_hub_name(const std::string& text) {
  const size_t slash = text.find('/');
  return slash != std::string::npos && slash > 0 && slash + 1 < text.size() &&
         text.find('/', slash + 1) == std::string::npos && text[0] != '.' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '-' || c == '_' || c == '.' || c == '/';
         });
}

/// Where the hub's client keeps what it fetched, as its own variables say.
fs::path hub_cache() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value == nullptr ? "" : value);
  };
  if (!variable("HF_HUB_CACHE").empty()) {
    return variable("HF_HUB_CACHE");
  }
  return variable("HF_HOME").empty() ? variable("HOME") / ".cache/huggingface/hub"
                                     : variable("HF_HOME") / "hub";
}

std::string about_hub_name(const std::string& name) {
  std::string entry = "models--" + name;
  entry.replace(entry.find('/'), 1, "--");
  const std::vector<std::string> here = snapshots_of(hub_cache() / entry);
  return formatted("; models are read from folders: if that is a name on the Hugging Face hub, {}",
                   here.empty() ? formatted("hf download {} --local-dir FOLDER fetches it", name)
                                : formatted("its files on this machine are in {}", joined(here)));
}

[[noreturn]] void refuse_file(const fs::path& path) {
  const FileContent content = content_of_file(path);
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const bool in_model = is_there(parent / "config.json");
  throw FormatError(formatted(
      "{}: expected {}, found {}", path, kExpected,
      content.content == Content::kGguf ? formatted("{}; {}", content.found, content.next)
      : in_model                        ? formatted("a file of one; give its folder, {}", parent)
                 : formatted("a file{}{}", content.found.empty() ? "" : ", ", content.found)));
}

/// The error of a folder that has no config.json.
[[noreturn]] void refuse_folder(const fs::path& folder) {
  const std::string where = formatted("{}: expected {}, ", folder, kExpected);
  const std::vector<std::string> snapshots = snapshots_below(folder);
  if (!snapshots.empty()) {
    throw FormatError(
        formatted("{}found a cache of the Hugging Face hub; give the folder of a snapshot: {}",
                  where, joined(snapshots)));
  }
  const io::Place place = io::describe_folder(folder).place;
  if (place != io::Place::kModel && place != io::Place::kOtherFolder &&
      place != io::Place::kHubCache) {
    io::refuse_place(folder, io::Place::kModel, kExpected);
  }
  const std::vector<std::string> names = names_in(folder);
  const std::string unfinished = why_absent(folder / "config.json");
  if (!unfinished.empty()) {
    throw IoError(where + "found no config.json" + unfinished);
  }
  const bool weights =
      is_there(folder / "model.safetensors") || is_there(folder / "model.safetensors.index.json");
  const std::string other =
      hinted(kOtherWeights, is_there(folder / "original") ? names_in(folder / "original") : names);
  if (!weights && !other.empty()) {
    throw FormatError(formatted("{}found no config.json; {}", where, other));
  }
  if (place == io::Place::kModel) {
    throw IoError(formatted("{}found no config.json, only {}", where, joined(names)));
  }
  io::refuse_place(folder, io::Place::kModel, kExpected);
}

/// Numbers that are missing of shards "model-00002-of-00004.safetensors"; `names` are those there.
std::string about_shards_without_index(const std::vector<std::string>& names) {
  constexpr size_t kLength = std::string_view("model-00001-of-00002.safetensors").size();
  std::vector<std::string> shards;
  for (const std::string& name : names) {
    if (name.size() == kLength && name.starts_with("model-") && name.substr(11, 4) == "-of-" &&
        name.ends_with(".safetensors")) {
      shards.push_back(name);
    }
  }
  return shards.empty() ? "" : formatted("found shards without their index ({})", joined(shards));
}

}  // namespace

void check_model_folder(const fs::path& folder) {
  // A link to nothing is there: opening it says more.
  if (is_there(folder / "config.json")) {
    if (io::describe_folder(folder).place == io::Place::kForeignCheckpoint) {
      io::refuse_place(folder, io::Place::kModel, kExpected);
    }
    return;
  }
  std::error_code ignored;
  const fs::file_status status = fs::status(folder, ignored);
  if (!fs::exists(status)) {
    const std::string why = why_absent(folder);
    throw IoError(formatted(
        "{}: expected {}, found nothing of that name{}", folder, kExpected,
        is_hub_name(folder.string()) && !is_there(*folder.begin()) ? about_hub_name(folder) : why));
  }
  if (!fs::is_directory(status)) {
    refuse_file(folder);
  }
  refuse_folder(folder);
}

void check_text_model(const io::Json& config, const std::string& where) {
  for (const char* key : {"text_config", "llm_config", "language_config"}) {
    LORSA_CHECK(!config.is_object() || !config.contains(key) || !config.at(key).is_object(),
                FormatError,
                "{}: expected the configuration of a language model, found one whose text part is "
                "nested ({}), as of a model of text and images; save the language model of it as a "
                "folder of its own with transformers",
                where, key);
  }
}

void refuse_without_weights(const fs::path& folder) {
  const std::vector<std::string> names = names_in(folder);
  std::string found = about_shards_without_index(names);
  if (!found.empty()) {
    found += "; download model.safetensors.index.json, too";
  }
  const std::string unfinished = why_absent(folder / "model.safetensors");
  if (found.empty() && !unfinished.empty()) {
    found = unfinished.substr(2);
  }
  if (found.empty()) {
    found = hinted(kOtherWeights, names);
  }
  if (found.empty() && is_there(folder / "original")) {
    found = hinted(kOtherWeights, names_in(folder / "original"));
  }
  throw FormatError(
      formatted("{}: expected model.safetensors or model.safetensors.index.json, found neither; {}",
                folder, found.empty() ? "is the download complete?" : found));
}

io::Json read_tokenizer_file(const fs::path& folder) {
  const fs::path path = folder / "tokenizer.json";
  if (!is_there(path)) {
    check_model_folder(folder);
    const std::string other = hinted(kOtherTokenizers, names_in(folder));
    LORSA_CHECK(other.empty(), FormatError, "{}: found no such file; {}", path, other);
  }
  return io::read_json(path);
}

}  // namespace lorsa::lm
