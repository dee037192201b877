#include "data/stored_rows.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "data/int8_rows.h"
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
  LORSA_CHECK(tensor.defined() && right_dtype && tensor.sizes() == shape, ShapeError,
              "rows for a cache: {}: expected {} {}, found {}", name, dtype, shape,
              tensor.defined() ? formatted("{} {}", tensor.scalar_type(), tensor.sizes())
                               : std::string("nothing"));
}

}  // namespace

void check_rows(const RowBlock& rows, const Manifest& manifest) {
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
  LORSA_CHECK(rows.heldout.size() == rows.document.size(), ShapeError,
              "heldout: expected {} values, found {}", count, rows.heldout.size());
  for (const uint8_t side : rows.heldout) {
    LORSA_CHECK(side <= 1, ShapeError, "heldout: expected 0 or 1, found {}",
                static_cast<int>(side));
  }
}

namespace {

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

/// The float32 values [T, D] that readers will see of one row of an activation.
struct RowValues {
  std::vector<float> seen;

  /// `stored` is [T, D] of a floating dtype.
  explicit RowValues(const at::Tensor& stored_TD) : seen(static_cast<size_t>(stored_TD.numel())) {
    const at::Tensor values = stored_TD.to(at::kFloat);
    const auto* first = values.const_data_ptr<float>();
    std::copy(first, first + values.numel(), seen.begin());
  }

  /// Rounds x_TD to int8, position by position.
  RowValues(const at::Tensor& x_TD, int8_t* stored, float* scale) : RowValues(x_TD) {
    const int64_t width = x_TD.size(1);
    float* x = seen.data();
    for (int64_t t = 0; t < x_TD.size(0); ++t, x += width, stored += width) {
      scale[t] = quantize_int8(x, width, stored);
      // A value that is not finite stays, for the check to name it.
      if (std::isfinite(scale[t])) {
        dequantize_int8(stored, scale[t], width, x);
      }
    }
  }
};

StatisticsSums sums_of_row(const float* x,
                           const float* t,
                           const uint8_t* scored,
                           int64_t length,
                           int64_t width,
                           int64_t row) {
  StatisticsSums sums;
  sums.target.assign(static_cast<size_t>(width), 0.0);
  for (int64_t position = 0; position < length; ++position, x += width, t += width) {
    const double x_square = square_sum(x, width);
    const double t_square = square_sum(t, width);
    // Unscored positions too: they act as keys.
    LORSA_CHECK(std::isfinite(x_square) && std::isfinite(t_square), FormatError,
                "row {}, position {}: expected finite activations, found {} that is not", row,
                position, std::isfinite(x_square) ? "a target" : "an input");
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

void add_row(io::Xxh3& hash, const at::Tensor& rows, int64_t row) {
  if (rows.defined()) {
    const size_t bytes = rows.nbytes() / static_cast<size_t>(rows.size(0));
    hash.update(static_cast<const char*>(rows.const_data_ptr()) + bytes * static_cast<size_t>(row),
                bytes);
  }
}

std::array<uint64_t, kNumRowSums> row_checksums(const StoredRows& rows, int64_t row) {
  std::array<uint64_t, kNumRowSums> sums{};
  io::Xxh3 hash;
  const auto finish = [&](RowSum which) {
    sums[which] = hash.digest();
    hash.reset();
  };
  add_row(hash, rows.input_BTD, row);
  add_row(hash, rows.input_scale_BT, row);
  finish(kInputSum);
  if (rows.target_BTD.defined()) {
    add_row(hash, rows.target_BTD, row);
    add_row(hash, rows.target_scale_BT, row);
    finish(kTargetSum);
  }
  const auto at_row = static_cast<size_t>(row);
  add_row(hash, rows.tokens_BT, row);
  add_row(hash, rows.scored_BT, row);
  hash.update(&rows.document[at_row], sizeof(int64_t));
  hash.update(&rows.heldout[at_row], sizeof(uint8_t));
  finish(kLabelSum);
  return sums;
}

/// Allocates what stores `source`; values are filled in row by row.
void make_activation(const at::Tensor& source,
                     StoreDtype dtype,
                     at::Tensor& values_BTD,
                     at::Tensor& scale_BT) {
  if (dtype == StoreDtype::kInt8) {
    values_BTD = at::empty(source.sizes(), at::dtype(at::kChar));
    scale_BT = at::empty({source.size(0), source.size(1)}, at::dtype(at::kFloat));
  } else {
    values_BTD = source.detach().to(at::kCPU, scalar_type(dtype)).contiguous();
  }
}

RowValues store_row(const at::Tensor& source_BTD,
                    const at::Tensor& values_BTD,
                    const at::Tensor& scale_BT,
                    int64_t row) {
  if (!scale_BT.defined()) {
    return RowValues(values_BTD[row]);
  }
  const int64_t length = source_BTD.size(1);
  return {source_BTD[row],
          values_BTD.mutable_data_ptr<int8_t>() + row * length * source_BTD.size(2),
          scale_BT.mutable_data_ptr<float>() + row * length};
}

}  // namespace

StoredRows make_stored_rows(const RowBlock& rows, const Manifest& manifest, int64_t first_row) {
  const auto stored = [](const at::Tensor& tensor, at::ScalarType as) {
    return tensor.detach().to(at::kCPU, as).contiguous();
  };
  StoredRows result;
  result.tokens_BT = stored(rows.tokens_BT, at::kInt);
  result.scored_BT = stored(rows.scored_BT, at::kByte);
  result.document = rows.document;
  result.heldout = rows.heldout;
  const at::Tensor input = rows.input_BTD.detach().to(at::kCPU);
  const at::Tensor target = rows.target_BTD.detach().to(at::kCPU);
  make_activation(input, manifest.dtype, result.input_BTD, result.input_scale_BT);
  const bool has_target = manifest.store == StoreMode::kInputAndTarget;
  if (has_target) {
    make_activation(target, manifest.dtype, result.target_BTD, result.target_scale_BT);
  }
  const auto count = static_cast<size_t>(result.num_rows());
  result.checksum.assign(kNumRowSums * count, 0);
  result.sums.resize(count);
  result.scored_count.assign(count, 0);
  const auto* scored = result.scored_BT.const_data_ptr<uint8_t>();
  const int64_t length = manifest.context_length;
  at::parallel_for(0, result.num_rows(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const auto at_row = static_cast<size_t>(row);
      const RowValues x = store_row(input, result.input_BTD, result.input_scale_BT, row);
      // Statistics are over what readers will see; without a stored target that is a float32 one.
      const RowValues t = has_target
                              ? store_row(target, result.target_BTD, result.target_scale_BT, row)
                              : RowValues(target[row]);
      StatisticsSums sums = sums_of_row(x.seen.data(), t.seen.data(), scored + row * length, length,
                                        manifest.d_model, first_row + row);
      result.scored_count[at_row] = sums.num_tokens;
      result.sums[at_row] = result.heldout[at_row] == 0 ? std::move(sums) : StatisticsSums{};
      const auto checksums = row_checksums(result, row);
      std::copy(checksums.begin(), checksums.end(),
                result.checksum.begin() + static_cast<std::ptrdiff_t>(kNumRowSums * at_row));
    }
  });
  return result;
}

}  // namespace lorsa::data
