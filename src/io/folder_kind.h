#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace lorsa::io {

/// What can stand at a path that a command is given.
enum class Place {
  kNothing,
  kFile,
  kEmptyFolder,
  kCache,              ///< manifest.json: the activations of one layer
  kCaches,             ///< folders layer-N with caches
  kCheckpoint,         ///< lorsa.json
  kForeignCheckpoint,  ///< sae_weights.safetensors or final.pth: a Lorsa of another project
  kRun,                ///< a training's folder, which holds checkpoints
  kSweep,
  kDump,      ///< heads of a checkpoint, for people
  kModel,     ///< a language model's Hugging Face folder
  kHubCache,  ///< models--ORG--NAME, or a folder of such
  kOtherFolder
};

/// A place and its name for messages: "an activation cache".
struct FolderDescription {
  Place place = Place::kNothing;
  std::string words;
};

/// What stands at `path`, told by the names of files alone: nothing is opened, nothing thrown.
[[nodiscard]] FolderDescription describe_folder(const std::filesystem::path& path);

/// Places of the `wanted` kind near `path`, by name: the folder of a file, else what lies in it,
/// two levels deep at most, else the folder that it lies in. Of a run's saved checkpoints the
/// newest.
[[nodiscard]] std::vector<std::filesystem::path> places_near(const std::filesystem::path& path,
                                                             Place wanted);

/// "found an activation cache; did you mean a/b?": what stands where a `wanted` place was expected,
/// and the likely right path, for messages.
[[nodiscard]] std::string found_instead(const std::filesystem::path& path, Place wanted);

/// Throws the error of a path that is no `wanted` place, "<path>: expected <expected>, found ...":
/// IoError where there is nothing, an empty folder or one of no kind, else FormatError.
[[noreturn]] void refuse_place(const std::filesystem::path& path,
                               Place wanted,
                               const std::string& expected);

}  // namespace lorsa::io
