#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "data/shard_record.h"
#include "lorsa/data/cache_writer.h"
#include "lorsa/data/manifest.h"

namespace lorsa::data {

/// Rows as the file holds them: contiguous, on the CPU, in the stored dtype.
struct StoredRows {
  at::Tensor input_BTD;
  at::Tensor target_BTD;       ///< undefined with store: input
  at::Tensor input_scale_BT;   ///< float32; undefined but for int8
  at::Tensor target_scale_BT;  ///< likewise
  at::Tensor tokens_BT;        ///< int32
  at::Tensor scored_BT;        ///< uint8
  std::vector<int64_t> document;
  std::vector<uint8_t> heldout;
  std::vector<uint64_t> checksum;     ///< [B, kNumRowSums]
  std::vector<StatisticsSums> sums;   ///< over the row's scored tokens; zero for held-out rows
  std::vector<int64_t> scored_count;  ///< scored tokens of the row

  [[nodiscard]] int64_t num_rows() const { return static_cast<int64_t>(document.size()); }
};

/// Throws ShapeError unless `rows` fit together and to the plan.
void check_rows(const RowBlock& rows, const Manifest& manifest);

/// Converts and measures rows that check_rows() passed. `first_row` is only for messages. Throws
/// FormatError for activations that are not finite in the stored dtype.
[[nodiscard]] StoredRows make_stored_rows(const RowBlock& rows,
                                          const Manifest& manifest,
                                          int64_t first_row);

}  // namespace lorsa::data
