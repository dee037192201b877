#pragma once

/// Marks what liblorsa exports; all else is hidden. scripts/check_exports compares.
#define LORSA_API __attribute__((visibility("default")))
