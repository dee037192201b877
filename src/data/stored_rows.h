#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "lorsa/data/cache_writer.h"
#include "lorsa/data/manifest.h"

namespace lorsa::data {

/// Rows as the file holds them: contiguous, on the CPU, in the stored dtype.
struct StoredRows {
  at::Tensor input_BTD;
  at::Tensor target_BTD;  ///< undefined with store: input
  at::Tensor tokens_BT;   ///< int32
  at::Tensor scored_BT;   ///< uint8
  std::vector<int64_t> document;
  std::vector<uint8_t> heldout;
  std::vector<uint64_t> checksum;     ///< [B, 2]: XXH3 of a row's input and target bytes
  std::vector<StatisticsSums> sums;   ///< over the row's scored tokens; zero for held-out rows
  std::vector<int64_t> scored_count;  ///< scored tokens of the row

  [[nodiscard]] int64_t num_rows() const { return static_cast<int64_t>(document.size()); }
};

/// Checks, converts and measures rows. `first_row` is only for messages. Throws ShapeError, or
/// FormatError for activations that are not finite in the stored dtype.
[[nodiscard]] StoredRows make_stored_rows(const RowBlock& rows,
                                          const Manifest& manifest,
                                          int64_t first_row);

/// sums += row
void add_sums(StatisticsSums& sums, const StatisticsSums& row);

/// Fills the manifest's statistics from its sums (zeros if nothing was scored).
void set_statistics(Manifest& manifest);

}  // namespace lorsa::data
