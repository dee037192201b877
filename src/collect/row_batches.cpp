#include "row_batches.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <thread>

namespace lorsa::collect {

data::RowBlock without_activations(const std::vector<data::Row>& rows) {
  const auto num_rows = static_cast<int64_t>(rows.size());
  const auto context = static_cast<int64_t>(rows.front().tokens.size());
  data::RowBlock block;
  block.tokens_BT = at::empty({num_rows, context}, at::kInt);
  block.scored_BT = at::empty({num_rows, context}, at::kBool);
  auto* tokens = block.tokens_BT.data_ptr<int32_t>();
  auto* scored = block.scored_BT.data_ptr<bool>();
  for (const data::Row& row : rows) {
    tokens = std::copy(row.tokens.begin(), row.tokens.end(), tokens);
    scored = std::transform(row.scored.begin(), row.scored.end(), scored,
                            [](uint8_t flag) { return flag != 0; });
    block.document.push_back(row.document);
    block.heldout.push_back(row.heldout ? 1 : 0);
  }
  return block;
}

RowSourceOptions source_options(const Job& job) {
  RowSourceOptions options;
  options.max_rows = job.max_rows;
  options.batch_rows = job.run.batch_sequences;
  options.vocabulary_size = job.model.vocabulary_size;
  // A quarter of the cores keeps up with a model on a fast device and leaves a CPU model its own.
  const auto cores = static_cast<int64_t>(std::thread::hardware_concurrency());
  options.num_tokenizers = std::clamp<int64_t>(cores / 4, 1, 8);
  return options;
}

}  // namespace lorsa::collect
