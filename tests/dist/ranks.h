#pragma once

#include "lorsa/dist/communicator.h"

namespace lorsa::dist {

/// What the ranks of this test program were started with.
[[nodiscard]] Options rank_options();

/// The communicator that its cases share.
[[nodiscard]] Communicator& ranks();

}  // namespace lorsa::dist
