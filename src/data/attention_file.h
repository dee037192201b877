#pragma once

#include <filesystem>

#include "lorsa/data/manifest.h"
#include "lorsa/kernels/mhsa.h"

namespace lorsa::data {

/// Writes `folder`/attention.safetensors (float32) and returns what the manifest says about it.
/// Throws ShapeError if the weights do not fit together or to d_model.
[[nodiscard]] AttentionInfo save_attention(const std::filesystem::path& folder,
                                           const kernels::Mhsa& attention,
                                           int64_t d_model);

/// Reads it back, float32 on the CPU. FormatError (file, tensor, expected, found), also if the file
/// is not the one that the manifest was written with.
[[nodiscard]] kernels::Mhsa load_attention(const std::filesystem::path& folder,
                                           const Manifest& manifest);

}  // namespace lorsa::data
