#pragma once

// Torch and Catch2 both define CHECK: whatever pulls in torch's logging comes first, Catch2 last.
#include <c10/util/Logging.h>

#include "support/paths.h"
#include "support/temp_dir.h"

#undef CHECK
#include <catch2/catch.hpp>
