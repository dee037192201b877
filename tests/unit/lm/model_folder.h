#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <functional>
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

}  // namespace lorsa::test
