#pragma once

#include <optional>

#include "analysis/activation_pass.h"
#include "analysis/dump_folder.h"
#include "lorsa/io/json.h"

namespace lorsa::analysis {

/// All that the result of a pass depends on: options, checkpoint, cache, program.
[[nodiscard]] io::Json pass_identity(const DumpInputs& in, const std::optional<DelphiPlan>& delphi);

/// Replaces the folder's saved state by `state`, whole or not at all. Throws IoError.
void save_state(DumpFolder& folder, const io::Json& identity, const PassState& state);

/// Takes up a saved state. Throws ConfigError naming the first difference if it is of another
/// identity, FormatError if the file is damaged.
void load_state(const DumpFolder& folder, const io::Json& identity, PassState& state);

}  // namespace lorsa::analysis
