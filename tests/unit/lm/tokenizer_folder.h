#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "lorsa/io/json.h"
#include "lorsa/lm/tokenizer.h"
#include "support/paths.h"
#include "support/temp_dir.h"

namespace lorsa::test {

/// A folder with a tokenizer.json (and other files) for one test.
class TokenizerFolder {
 public:
  explicit TokenizerFolder(const io::Json& tokenizer) { write("tokenizer.json", tokenizer); }

  void write(const std::string& name, const io::Json& value) const {
    io::write_json(folder_ / name, value);
  }

  [[nodiscard]] lm::Tokenizer load() const { return lm::Tokenizer(folder_.path()); }

 private:
  TempDir folder_;
};

/// tokenizer.json of tests/golden/tokenizer/`name`.
inline io::Json golden_tokenizer(const std::string& name) {
  return io::read_json(test::golden("tokenizer") / name / "tokenizer.json");
}

/// The folder that the environment variable `name` holds.
inline std::filesystem::path folder_in_environment(const char* name) {
  const char* folder = std::getenv(name);
  if (folder == nullptr ||
      !std::filesystem::exists(std::filesystem::path(folder) / "tokenizer.json")) {
    throw std::runtime_error(std::string(name) +
                             " must name a folder with a tokenizer.json: run "
                             "scripts/fetch_smollm2.sh, then set it to quickstart/model");
  }
  return folder;
}

}  // namespace lorsa::test
