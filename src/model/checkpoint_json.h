#pragma once

#include <string>

#include "lorsa/io/json.h"
#include "lorsa/model/checkpoint.h"

namespace lorsa::model {

/// The content of lorsa.json.
[[nodiscard]] io::Json checkpoint_json(const DictionaryShape& shape, const CheckpointInfo& info);

/// Its shape. Throws FormatError naming `where`, key, expected and found.
[[nodiscard]] DictionaryShape shape_of_json(const io::Json& json, const std::string& where);

/// What it says beside the shape. Throws FormatError naming `where`, key, expected and found.
[[nodiscard]] CheckpointInfo info_of_json(const io::Json& json, const std::string& where);

}  // namespace lorsa::model
