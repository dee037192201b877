#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/model/checkpoint.h"

// Checkpoints of other projects (docs/formats.md says which file holds what and what becomes of
// it).

namespace lorsa::model {

enum class CheckpointKind {
  kOwn,           ///< lorsa.json, model.safetensors
  kLlamascopium,  ///< config.json, sae_weights.safetensors
  kOriginal       ///< config.json, final.pth: the method's first repository
};

/// "lorsa", "llamascopium", "original".
[[nodiscard]] LORSA_API std::string to_string(CheckpointKind kind);

/// The kind that `folder` holds, by its files. FormatError if it holds none of them or several.
[[nodiscard]] LORSA_API CheckpointKind detect_kind(const std::filesystem::path& folder);

/// What weights are to be read as. Others' folders can be wrong about that: llamascopium writes its
/// config.json before training and folds the weights afterwards.
enum class ReadAs { kStated, kScaled, kFolded };

/// sqrt(D) over the mean norms of raw inputs and targets.
struct Scales {
  double input = 1.0;
  double target = 1.0;
};

/// A checkpoint of another project.
struct ImportedDictionary {
  LoadedDictionary loaded;
  std::optional<Scales> scales;      ///< those that the files hold; nothing where they hold none
  std::string stated;                ///< the files' own word for their normalization
  bool certain = true;               ///< whether that word can be relied on
  std::string dtype;                 ///< of the stored weights, "float32"
  std::vector<std::string> remarks;  ///< what the reader of this checkpoint should know
};

/// Reads a llamascopium Lorsa. Weights are read as float32: bfloat16 and float16 exactly, float64
/// is refused. Everything that is unknown, missing, does not fit its place or makes another
/// computation than Lorsa's is a FormatError that names file, key or tensor, expected and found.
/// Keys that are unknown to both projects are kept and remarked on.
[[nodiscard]] LORSA_API ImportedDictionary load_llamascopium(const std::filesystem::path& folder,
                                                             ReadAs read_as = ReadAs::kStated);

/// The context length that is written where nothing says one.
inline constexpr int64_t kDefaultContext = 2048;

/// Writes config.json and sae_weights.safetensors into `folder` (made if absent), each atomically,
/// config.json last. A checkpoint that came from llamascopium gets back what it said there.
///
/// `n_ctx` is the longest context that llamascopium can run it on; nothing takes what the
/// checkpoint came with, else kDefaultContext. Throws FormatError for what that format cannot say:
/// topk_signed, virtual keys, linear RoPE scaling, a RoPE base that is no whole number.
LORSA_API void save_llamascopium(const std::filesystem::path& folder,
                                 const Dictionary& dictionary,
                                 const CheckpointInfo& info,
                                 std::optional<int64_t> n_ctx = std::nullopt);

/// The config.json that save_llamascopium() writes. Throws as it does.
[[nodiscard]] LORSA_API std::string llamascopium_config(
    const Dictionary& dictionary,
    const CheckpointInfo& info,
    std::optional<int64_t> n_ctx = std::nullopt);

/// About how many bytes save_llamascopium() writes. Its mask has n_ctx^2 of them: 4 MiB at 2,048
/// positions, 16 GiB at 131,072. A number beyond any disk is fine. Throws as it does.
[[nodiscard]] LORSA_API double llamascopium_bytes(const Dictionary& dictionary,
                                                  const CheckpointInfo& info,
                                                  std::optional<int64_t> n_ctx = std::nullopt);

/// Reads the final.pth and config.json of the method's first repository (OpenMOSS/Lorsa), with
/// dtypes and errors as load_llamascopium(). Its files always hold scaled weights.
[[nodiscard]] LORSA_API ImportedDictionary load_original(const std::filesystem::path& folder,
                                                         ReadAs read_as = ReadAs::kStated);

}  // namespace lorsa::model
