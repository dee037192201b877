#pragma once

#include <vector>

#include "job.h"
#include "lorsa/data/cache_writer.h"
#include "lorsa/data/corpus.h"
#include "row_source.h"

namespace lorsa::collect {

/// Tokens [n, T] int32, scored [n, T] bool, documents and sides of rows, as CPU tensors; the
/// activations stay undefined.
[[nodiscard]] data::RowBlock without_activations(const std::vector<data::Row>& rows);

/// How a job reads its rows, from row `first_row` on.
[[nodiscard]] RowSourceOptions source_options(const Job& job, int64_t first_row);

}  // namespace lorsa::collect
