#include "lorsa/model/interchange.h"

#include <utility>

#include "io/folder_kind.h"
#include "lorsa/core/error.h"

namespace lorsa::model {
namespace {

const std::vector<std::pair<CheckpointKind, const char*>> kTellingFiles = {
    {CheckpointKind::kOwn, "lorsa.json"},
    {CheckpointKind::kLlamascopium, "sae_weights.safetensors"},
    {CheckpointKind::kOriginal, "final.pth"}};

// What llamascopium also writes, and what only Python can read.
const std::vector<const char*> kOtherFiles = {
    "sae_weights.pt", "sae_weights.dcp", "checkpoints/final.safetensors", "checkpoints/final.pt"};

/// "found ...": found_instead() of a checkpoint, of ours or of another project.
std::string checkpoint_found(const std::filesystem::path& folder) {
  const bool foreign = io::places_near(folder, io::Place::kCheckpoint).empty() &&
                       !io::places_near(folder, io::Place::kForeignCheckpoint).empty();
  return io::found_instead(folder,
                           foreign ? io::Place::kForeignCheckpoint : io::Place::kCheckpoint);
}

}  // namespace

std::string to_string(CheckpointKind kind) {
  switch (kind) {
    case CheckpointKind::kOwn:
      return "lorsa";
    case CheckpointKind::kLlamascopium:
      return "llamascopium";
    case CheckpointKind::kOriginal:
      return "original";
  }
  throw Error("unknown kind of checkpoint");
}

CheckpointKind detect_kind(const std::filesystem::path& folder) {
  LORSA_CHECK(std::filesystem::is_directory(folder), IoError,
              "{}: expected a checkpoint folder, {}", folder, checkpoint_found(folder));
  std::vector<CheckpointKind> found;
  std::string files;
  std::string expected;
  for (const auto& [kind, file] : kTellingFiles) {
    expected += (expected.empty() ? "" : ", ") + formatted("{} ({})", file, to_string(kind));
    if (std::filesystem::exists(folder / file)) {
      found.push_back(kind);
      files += (files.empty() ? "" : ", ") + std::string(file);
    }
  }
  if (found.empty()) {
    for (const char* file : kOtherFiles) {
      if (std::filesystem::exists(folder / file)) {
        files = formatted("{} (save it as sae_weights.safetensors with llamascopium)", file);
        break;
      }
    }
  }
  LORSA_CHECK(found.size() == 1, FormatError, "{}: expected one of {}; {}{}", folder, expected,
              files.empty() ? "found none of them, but " + checkpoint_found(folder).substr(6)
                            : "found " + files,
              found.size() > 1 ? ": say which with `from`" : "");
  return found.front();
}

}  // namespace lorsa::model
