#pragma once

#include <ATen/ATen.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>

#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "lorsa/io/safetensors.h"
#include "support/paths.h"
#include "support/temp_dir.h"

namespace lorsa::test {

/// A private copy of one of the small models under tests/golden/lm, to be damaged.
class ModelFolder {
 public:
  explicit ModelFolder(const std::string& name) : path_(dir_ / "model") {
    std::filesystem::copy(test::golden("lm") / name, path_);
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  void edit_config(const std::function<void(io::Json&)>& edit) const {
    edit_json("config.json", edit);
  }

  void edit_json(const std::string& file, const std::function<void(io::Json&)>& edit) const {
    io::Json json = io::read_json(path_ / file);
    edit(json);
    io::write_json(path_ / file, json);
  }

  /// Rewrites model.safetensors; `edit` returns what a tensor becomes, undefined to leave it out.
  void edit_weights(
      const std::function<at::Tensor(const std::string&, const at::Tensor&)>& edit) const {
    io::NamedTensors tensors;
    {
      const io::SafetensorsReader reader(path_ / "model.safetensors");
      for (const std::string& name : reader.names()) {
        const at::Tensor changed = edit(name, reader.read(name));
        if (changed.defined()) {
          tensors.emplace_back(name, changed);
        }
      }
    }
    io::write_safetensors(path_ / "model.safetensors", tensors);
  }

 private:
  TempDir dir_;
  std::filesystem::path path_;
};

/// The SmolLM2 folder that scripts/fetch_smollm2.sh makes.
inline std::filesystem::path smollm2_folder() {
  const char* folder = std::getenv("LORSA_TEST_MODEL");
  if (folder == nullptr ||
      !std::filesystem::exists(std::filesystem::path(folder) / "config.json")) {
    throw std::runtime_error(
        "LORSA_TEST_MODEL must name the SmolLM2 folder: run scripts/fetch_smollm2.sh, then set it "
        "to quickstart/model (ctest does that)");
  }
  return folder;
}

}  // namespace lorsa::test
