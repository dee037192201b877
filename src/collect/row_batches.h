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

/// How a job reads all its rows.
[[nodiscard]] RowSourceOptions source_options(const Job& job);

}  // namespace lorsa::collect
