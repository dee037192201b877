#pragma once

#include <filesystem>

#include "lorsa/io/safetensors.h"

namespace lorsa::model {

/// The tensors of a state dict that torch.save() wrote (a zip archive, PyTorch 1.6 or later), on
/// the CPU whatever device they were saved from. Throws FormatError naming `path` for everything
/// else, IoError if it cannot be read.
///
/// LibTorch's unpickler builds tensors and plain containers only: it runs no code of the file.
[[nodiscard]] io::NamedTensors read_torch_state_dict(const std::filesystem::path& path);

}  // namespace lorsa::model
