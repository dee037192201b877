#pragma once

#include "lorsa/data/manifest.h"
#include "lorsa/io/json.h"

namespace lorsa::data {

/// The part of a manifest that is known before the first row: what must agree for an extraction to
/// continue.
[[nodiscard]] io::Json plan_json(const Manifest& manifest);

/// A member that is a whole number >= `low`. Throws FormatError naming it.
[[nodiscard]] int64_t count(const io::Json& object,
                            const std::string& key,
                            const std::string& where,
                            int64_t low);

}  // namespace lorsa::data
