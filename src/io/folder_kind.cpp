#include "io/folder_kind.h"

#include <algorithm>
#include <array>
#include <system_error>

#include "core/file_content.h"
#include "lorsa/core/error.h"
#include "lorsa/core/utf8.h"

namespace lorsa::io {
namespace {

namespace fs = std::filesystem;

/// A folder with more entries is not searched to its end.
constexpr size_t kMaxEntries = 4096;
constexpr size_t kShownNames = 3;

/// Names in `folder`, sorted; empty where it cannot be read.
std::vector<std::string> names_of(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end;
       !error && entry != end && names.size() < kMaxEntries; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/// "a, b, c and 4 more"
template <typename Texts>
std::string listed(const Texts& texts) {
  std::string all;
  for (size_t i = 0; i < std::min(texts.size(), kShownNames); ++i) {
    all += formatted("{}{}", i == 0 ? "" : ", ", replace_invalid_utf8(fs::path(texts[i]).string()));
  }
  return texts.size() > kShownNames ? formatted("{} and {} more", all, texts.size() - kShownNames)
                                    : all;
}

bool any_starts_with(const std::vector<std::string>& names, const char* prefix) {
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return name.starts_with(prefix); });
}

std::vector<std::string> layer_folders(const fs::path& path,
                                       const std::vector<std::string>& names) {
  std::vector<std::string> layers;
  for (const std::string& name : names) {
    if (name.starts_with("layer-") && is_there(path / name / "manifest.json")) {
      layers.push_back(name);
    }
  }
  return layers;
}

/// By the telling files of every kind, the surest ones first.
FolderDescription by_files(const fs::path& path, const std::vector<std::string>& names) {
  const auto has = [&](const char* name) {
    return std::binary_search(names.begin(), names.end(), std::string(name));
  };
  if (has("lorsa.json")) {
    return {Place::kCheckpoint, "a checkpoint"};
  }
  if (has("manifest.json")) {
    return {Place::kCache, "an activation cache"};
  }
  if (const auto layers = layer_folders(path, names); !layers.empty()) {
    return {Place::kCaches, formatted("a folder of activation caches ({})", listed(layers))};
  }
  if (has("index.json") && (has("explorer") || any_starts_with(names, "heads-"))) {
    return {Place::kDump, "a dump of heads"};
  }
  if (has("results.json") && has("runs")) {
    return {Place::kSweep, "a sweep's folder"};
  }
  if (has("config.yaml") && (has("metrics.jsonl") || has("checkpoints") || has("final"))) {
    return {Place::kRun, "a training's run folder"};
  }
  if (has("sae_weights.safetensors") || has("final.pth")) {
    return {Place::kForeignCheckpoint, has("final.pth")
                                           ? "a checkpoint of the method's first repository"
                                           : "a checkpoint of llamascopium"};
  }
  if (has("config.json") || has("tokenizer.json") || has("model.safetensors") ||
      has("model.safetensors.index.json")) {
    return {Place::kModel, "a language model's folder"};
  }
  if (has("snapshots") || any_starts_with(names, "models--")) {
    return {Place::kHubCache, "a cache of the Hugging Face hub"};
  }
  return {Place::kOtherFolder, formatted("a folder with {}", listed(names))};
}

/// Entries of `folder` that are of the wanted kind.
std::vector<fs::path> wanted_in(const fs::path& folder, Place wanted) {
  std::vector<fs::path> found;
  for (const std::string& name : names_of(folder)) {
    if (is_folder(folder / name) && describe_folder(folder / name).place == wanted) {
      found.push_back(folder / name);
    }
  }
  return found;
}

}  // namespace

FolderDescription describe_folder(const fs::path& path) {
  if (!is_there(path)) {
    return {Place::kNothing, "nothing"};
  }
  if (!is_folder(path)) {
    std::error_code ignored;
    const fs::file_status status = fs::status(path, ignored);
    return fs::exists(status) ? FolderDescription{Place::kFile, "a file"}
                              : FolderDescription{Place::kNothing, "nothing"};
  }
  const std::vector<std::string> names = names_of(path);
  return names.empty() ? FolderDescription{Place::kEmptyFolder, "an empty folder"}
                       : by_files(path, names);
}

std::vector<fs::path> places_near(const fs::path& path, Place wanted) {
  const fs::path plain = path.has_filename() ? path : path.parent_path();
  const fs::path parent = plain.has_parent_path() ? plain.parent_path() : fs::path(".");
  std::vector<fs::path> found;
  if (is_folder(plain)) {
    found = wanted_in(plain, wanted);
    const std::vector<std::string> names =
        found.empty() ? names_of(plain) : std::vector<std::string>();
    for (const std::string& name : names) {
      std::vector<fs::path> deeper = wanted_in(plain / name, wanted);
      if (name == "checkpoints" && !deeper.empty()) {
        deeper = {deeper.back()};
      }
      found.insert(found.end(), deeper.begin(), deeper.end());
    }
  }
  if (found.empty() && is_there(plain) && describe_folder(parent).place == wanted) {
    found.push_back(parent);
  }
  return found;
}

std::string found_instead(const fs::path& path, Place wanted) {
  const FolderDescription here = describe_folder(path);
  const std::string found = "found " + here.words;
  if (here.place == Place::kNothing) {
    return found + why_absent(path);
  }
  if (here.place == wanted) {
    return formatted("found only {}", listed(names_of(path)));
  }
  const std::vector<fs::path> near = places_near(path, wanted);
  if (near.size() == 1) {
    return formatted("{}; did you mean {}?", found, near.front());
  }
  if (!near.empty()) {
    return formatted("{}; name one of {}", found, listed(near));
  }
  const bool checkpoint = wanted == Place::kCheckpoint || wanted == Place::kRun;
  if (checkpoint && here.place == Place::kDump) {
    return found + "; its index.json says of which checkpoint and cache it was made";
  }
  if (checkpoint && here.place == Place::kForeignCheckpoint) {
    return found + "; lorsa-convert makes one of lorsa's of it";
  }
  const bool is_argument = here.place == Place::kCache || here.place == Place::kCaches ||
                           here.place == Place::kCheckpoint || here.place == Place::kRun ||
                           here.place == Place::kModel;
  return found + (is_argument ? "; are two arguments or keys swapped?" : "");
}

void refuse_place(const fs::path& path, Place wanted, const std::string& expected) {
  const Place here = describe_folder(path).place;
  const std::string message =
      formatted("{}: expected {}, {}", path, expected, found_instead(path, wanted));
  if (here == Place::kNothing || here == Place::kEmptyFolder || here == Place::kOtherFolder) {
    throw IoError(message);
  }
  throw FormatError(message);
}

}  // namespace lorsa::io
