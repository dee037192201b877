#include "lorsa/model/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/file_content.h"
#include "io/folder_kind.h"
#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "lorsa/io/safetensors.h"
#include "model/checkpoint_json.h"
#include "model/kind.h"
#include "model/weight_layout.h"

namespace lorsa::model {
namespace {

constexpr const char* kManifest = "lorsa.json";
constexpr const char* kWeights = "model.safetensors";

}  // namespace

void save_checkpoint(const std::filesystem::path& folder,
                     const Dictionary& dictionary,
                     const CheckpointInfo& info) {
  const DictionaryShape& s = dictionary.shape();
  io::make_directories(folder);
  io::NamedTensors tensors;
  for (const auto& [name, tensor] : dictionary.weights().named()) {
    tensors.emplace_back(name_in_file(s, name),
                         is_projection(name) ? heads_of_rows(s, *tensor) : *tensor);
  }
  io::write_safetensors(folder / kWeights, tensors, {{"format", "pt"}});
  io::write_json(folder / kManifest, checkpoint_json(s, info));
}

LoadedDictionary load_checkpoint(const std::filesystem::path& folder) {
  if (!is_there(folder / kManifest)) {
    io::refuse_place(folder, io::Place::kCheckpoint,
                     formatted("a checkpoint ({} and {})", kManifest, kWeights));
  }
  const std::string where = (folder / kManifest).string();
  const io::Json json = io::read_json(folder / kManifest);
  const DictionaryShape shape = shape_of_json(json, where);
  const io::SafetensorsReader reader(folder / kWeights);
  DictionaryWeights weights;
  const auto read = [&](const std::string& name) {
    if (!is_projection(name)) {
      return reader.read_checked(name_in_file(shape, name), weight_shape(shape, name), at::kFloat);
    }
    return rows_of_heads(
        reader.read_checked(name, {shape.num_qk_heads, shape.d_model, shape.d_qk}, at::kFloat));
  };
  for (const std::string& name : weight_names(shape)) {
    weights.at(name) = read(name);
  }
  const auto expected = weights.named();
  for (const std::string& name : reader.names()) {
    const bool known = std::any_of(expected.begin(), expected.end(), [&](const auto& w) {
      return name_in_file(shape, w.first) == name;
    });
    LORSA_CHECK(known, FormatError, "{}: unexpected tensor {}", (folder / kWeights), name);
  }
  return {Dictionary(shape, std::move(weights)), info_of_json(json, where)};
}

LoadedDictionary load_folded(const std::filesystem::path& folder) {
  LoadedDictionary loaded = load_checkpoint(folder);
  if (loaded.info.normalization == Normalization::kScaled) {
    loaded.dictionary.fold(loaded.info.input_scale, loaded.info.target_scale);
    loaded.info.normalization = Normalization::kFolded;
  }
  return loaded;
}

}  // namespace lorsa::model
