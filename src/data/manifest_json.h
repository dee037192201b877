#pragma once

#include "lorsa/data/manifest.h"
#include "lorsa/io/json.h"

namespace lorsa::data {

/// The part of a manifest that is known before the first row: what must agree for an extraction to
/// continue.
[[nodiscard]] io::Json plan_json(const Manifest& manifest);

}  // namespace lorsa::data
