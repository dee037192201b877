#include "data/stored_rows.h"

#include <ATen/Parallel.h>

#include <array>
#include <cmath>
#include <string_view>

#include "data/shard_format.h"
#include "lorsa/core/error.h"
#include "lorsa/io/checksum.h"

namespace lorsa::data {
namespace {

void check_tensor(const at::Tensor& tensor,
                  std::string_view name,
                  at::IntArrayRef shape,
                  bool right_dtype,
                  std::string_view dtype) {
  LORSA_CHECK(tensor.defined() && right_dtype && tensor.sizes() == shape,
              ShapeError,
              "rows for a cache: ",
              name,
              ": expected ",
              dtype,
              " ",
              shape,
              ", found ",
              tensor.defined() ? concat(tensor.scalar_type(), " ", tensor.sizes())
                               : std::string("nothing"));
}

void check_block(const RowBlock& rows, const Manifest& manifest) {
  const auto count = static_cast<int64_t>(rows.document.size());
  const std::array<int64_t, 3> wide = {count, manifest.context_length, manifest.d_model};
  const at::IntArrayRef narrow(wide.data(), 2);
  const auto is_float = [](const at::Tensor& tensor) {
    return tensor.defined() && tensor.is_floating_point();
  };
  const auto is = [](const at::Tensor& tensor, at::ScalarType dtype) {
    return tensor.defined() && tensor.scalar_type() == dtype;
  };
  check_tensor(rows.input_BTD, "input", wide, is_float(rows.input_BTD), "floating-point");
  check_tensor(rows.target_BTD, "target", wide, is_float(rows.target_BTD), "floating-point");
  check_tensor(rows.tokens_BT, "tokens", narrow, is(rows.tokens_BT, at::kInt), "int32");
  check_tensor(rows.scored_BT, "scored", narrow, is(rows.scored_BT, at::kBool), "bool");
  LORSA_CHECK(rows.heldout.size() == rows.document.size(),
              ShapeError,
              "rows for a cache: heldout: expected ",
              count,
              " values as in document, found ",
              rows.heldout.size());
  for (const uint8_t side : rows.heldout) {
    LORSA_CHECK(side <= 1,
                ShapeError,
                "rows for a cache: heldout: expected 0 or 1, found ",
                static_cast<int>(side));
  }
}

// Sums in a fixed number of lanes: the compiler may vectorise it and the result does not depend on
// the machine.
double square_sum(const float* values, int64_t size) {
  constexpr int64_t kLanes = 8;
  std::array<double, kLanes> lanes{};
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const double value = values[i + lane];
      lanes[static_cast<size_t>(lane)] += value * value;
    }
  }
  double sum = 0.0;
  for (; i < size; ++i) {
    sum += static_cast<double>(values[i]) * values[i];
  }
  for (const double lane : lanes) {
    sum += lane;
  }
  return sum;
}

StatisticsSums sums_of_row(const at::Tensor& input_TD,
                           const at::Tensor& target_TD,
                           const uint8_t* scored,
                           int64_t row) {
  const at::Tensor input = input_TD.to(at::kFloat);
  const at::Tensor target = target_TD.to(at::kFloat);
  const auto* x = input.const_data_ptr<float>();
  const auto* t = target.const_data_ptr<float>();
  const int64_t width = input.size(1);
  StatisticsSums sums;
  sums.target.assign(static_cast<size_t>(width), 0.0);
  for (int64_t position = 0; position < input.size(0); ++position, x += width, t += width) {
    const double x_square = square_sum(x, width);
    const double t_square = square_sum(t, width);
    // Unscored positions too: they act as keys.
    LORSA_CHECK(std::isfinite(x_square) && std::isfinite(t_square),
                FormatError,
                "row ",
                row,
                ", position ",
                position,
                ": expected finite activations, found ",
                std::isfinite(x_square) ? "a target" : "an input",
                " that is not");
    if (scored[position] == 0) {
      continue;
    }
    sums.num_tokens += 1;
    sums.input_norm += std::sqrt(x_square);
    sums.input_square += x_square;
    sums.target_norm += std::sqrt(t_square);
    sums.target_square += t_square;
    for (int64_t d = 0; d < width; ++d) {
      sums.target[static_cast<size_t>(d)] += t[d];
    }
  }
  return sums;
}

uint64_t row_checksum(const at::Tensor& rows_BTD, int64_t row) {
  const size_t bytes = rows_BTD.nbytes() / static_cast<size_t>(rows_BTD.size(0));
  const auto* data = static_cast<const char*>(rows_BTD.const_data_ptr());
  return io::xxh3(data + bytes * static_cast<size_t>(row), bytes);
}

}  // namespace

StoredRows make_stored_rows(const RowBlock& rows, const Manifest& manifest, int64_t first_row) {
  check_block(rows, manifest);
  const at::ScalarType dtype = scalar_type(manifest.dtype);
  const auto stored = [](const at::Tensor& tensor, at::ScalarType as) {
    return tensor.detach().to(at::kCPU, as).contiguous();
  };
  StoredRows result;
  result.input_BTD = stored(rows.input_BTD, dtype);
  result.tokens_BT = stored(rows.tokens_BT, at::kInt);
  result.scored_BT = stored(rows.scored_BT, at::kByte);
  result.document = rows.document;
  result.heldout = rows.heldout;
  const bool has_target = manifest.store == StoreMode::kInputAndTarget;
  // Statistics are over what readers will see; without a stored target that is a float32 one.
  const at::Tensor target = stored(rows.target_BTD, has_target ? dtype : at::kFloat);
  if (has_target) {
    result.target_BTD = target;
  }
  const auto count = static_cast<size_t>(result.num_rows());
  result.checksum.assign(2 * count, 0);
  result.sums.resize(count);
  result.scored_count.assign(count, 0);
  const auto* scored = result.scored_BT.const_data_ptr<uint8_t>();
  at::parallel_for(0, result.num_rows(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const auto at_row = static_cast<size_t>(row);
      StatisticsSums sums = sums_of_row(result.input_BTD[row],
                                        target[row],
                                        scored + row * manifest.context_length,
                                        first_row + row);
      result.scored_count[at_row] = sums.num_tokens;
      result.sums[at_row] = result.heldout[at_row] == 0 ? std::move(sums) : StatisticsSums{};
      result.checksum[2 * at_row] = row_checksum(result.input_BTD, row);
      if (has_target) {
        result.checksum[2 * at_row + 1] = row_checksum(result.target_BTD, row);
      }
    }
  });
  return result;
}

void add_sums(StatisticsSums& sums, const StatisticsSums& row) {
  sums.num_tokens += row.num_tokens;
  sums.input_norm += row.input_norm;
  sums.input_square += row.input_square;
  sums.target_norm += row.target_norm;
  sums.target_square += row.target_square;
  for (size_t d = 0; d < row.target.size(); ++d) {
    sums.target[d] += row.target[d];
  }
}

void set_statistics(Manifest& manifest) {
  const StatisticsSums& sums = manifest.sums;
  const double scale = sums.num_tokens > 0 ? 1.0 / static_cast<double>(sums.num_tokens) : 0.0;
  manifest.num_statistics_tokens = sums.num_tokens;
  manifest.input_stats = {sums.input_norm * scale, sums.input_square * scale};
  manifest.target_stats = {sums.target_norm * scale, sums.target_square * scale};
  manifest.target_mean = sums.target;
  for (double& mean : manifest.target_mean) {
    mean *= scale;
  }
}

}  // namespace lorsa::data
