#include "model/foreign_tensors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "lorsa/core/error.h"

namespace lorsa::model {
namespace {

constexpr int64_t kMaxSize = int64_t{1} << 31;
/// Of a mask, what is compared at a time.
constexpr int64_t kMaskEntries = int64_t{1} << 24;

std::string dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return "float32";
    case at::kDouble:
      return "float64";
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    case at::kBool:
      return "bool";
    default:
      return c10::toString(dtype);
  }
}

std::string text(at::IntArrayRef shape) {
  return formatted("{}", shape);
}

// How far a table may be from what this machine computes. Devices differ by some 2^-22 of the
// angle, which is at most the position; narrower dtypes add their own rounding.
at::Tensor rotary_tolerance(int64_t n_ctx, at::ScalarType dtype) {
  const double narrow = dtype == at::kBFloat16 ? 0x1p-8 : dtype == at::kHalf ? 0x1p-10 : 0.0;
  return (at::arange(n_ctx, at::kDouble) + 1.0) * 0x1p-20 + narrow;
}

}  // namespace

ForeignTensors::ForeignTensors(std::string file, io::NamedTensors tensors)
    : file_(std::move(file)), tensors_(std::move(tensors)) {}

std::string ForeignTensors::where(const std::string& name) const {
  return formatted("{}: tensor \"{}\"", file_, name);
}

bool ForeignTensors::contains(const std::string& name) const {
  return std::any_of(tensors_.begin(), tensors_.end(),
                     [&](const auto& entry) { return entry.first == name; });
}

const at::Tensor& ForeignTensors::find(const std::string& name, const std::vector<int64_t>& shape) {
  const auto found = std::find_if(tensors_.begin(), tensors_.end(),
                                  [&](const auto& entry) { return entry.first == name; });
  LORSA_CHECK(found != tensors_.end(), FormatError,
              "{}: expected one of shape {}, found none of that name", where(name), text(shape));
  LORSA_CHECK(found->second.sizes() == at::IntArrayRef(shape), FormatError,
              "{}: shape: expected {}, found {}", where(name), text(shape),
              text(found->second.sizes()));
  read_.insert(name);
  return found->second;
}

at::Tensor ForeignTensors::weight(const std::string& name, const std::vector<int64_t>& shape) {
  const at::Tensor& source = find(name, shape);
  const at::ScalarType dtype = source.scalar_type();
  LORSA_CHECK(dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf, FormatError,
              "{}: dtype: expected float32, bfloat16 or float16, found {}", where(name),
              dtype_name(dtype));
  dtypes_.insert(dtype_name(dtype));
  at::Tensor result =
      source.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true, at::MemoryFormat::Contiguous);
  const at::Tensor finite = at::isfinite(result).flatten();
  if (!finite.all().item<bool>()) {
    const auto index = finite.logical_not().to(at::kByte).argmax().item<int64_t>();
    throw FormatError(formatted("{}: expected finite values, found {} at flat index {}",
                                where(name), result.flatten()[index].item<double>(), index));
  }
  return result;
}

double ForeignTensors::number(const std::string& name) {
  const at::Tensor& source = find(name, {});
  LORSA_CHECK(c10::isFloatingType(source.scalar_type()), FormatError,
              "{}: dtype: expected a floating one, found {}", where(name),
              dtype_name(source.scalar_type()));
  return source.item<double>();
}

void ForeignTensors::check_mask(int64_t n_ctx, int64_t num_virtual_keys) {
  const at::Tensor& mask = find("mask", {n_ctx, n_ctx + num_virtual_keys});
  LORSA_CHECK(mask.scalar_type() == at::kBool, FormatError, "{}: dtype: expected bool, found {}",
              where("mask"), dtype_name(mask.scalar_type()));
  const int64_t step = std::max<int64_t>(1, kMaskEntries / mask.size(1));
  for (int64_t first = 0; first < n_ctx; first += step) {
    const int64_t count = std::min(step, n_ctx - first);
    const at::Tensor wrong =
        mask.narrow(0, first, count) != causal_mask_rows(first, count, n_ctx, num_virtual_keys);
    if (wrong.any().item<bool>()) {
      const auto index = wrong.flatten().to(at::kByte).argmax().item<int64_t>();
      const int64_t query = first + index / mask.size(1);
      const int64_t key = index % mask.size(1);
      throw FormatError(formatted("{}: expected a causal mask, found {} at query {}, key {}",
                                  where("mask"), mask[query][key].item<bool>() ? "true" : "false",
                                  query, key));
    }
  }
}

void ForeignTensors::check_ignore() {
  const double ignore = number("IGNORE");
  LORSA_CHECK(ignore == -std::numeric_limits<double>::infinity(), FormatError,
              "{}: expected -infinity, found {}", where("IGNORE"), ignore);
}

void ForeignTensors::check_rotary(const kernels::RopeSpec& rope, int64_t n_ctx) {
  const auto [sin, cos] = rotary_tables(rope, n_ctx);
  const auto check = [&](const std::string& name, const at::Tensor& expected) {
    const at::Tensor& found = find(name, {n_ctx, rope.rotary_dim});
    LORSA_CHECK(c10::isFloatingType(found.scalar_type()), FormatError,
                "{}: dtype: expected a floating one, found {}", where(name),
                dtype_name(found.scalar_type()));
    const at::Tensor difference = (found.to(at::kDouble) - expected.to(at::kDouble)).abs();
    // Not "above": NaN is wrong, too.
    const at::Tensor wrong =
        (difference <= rotary_tolerance(n_ctx, found.scalar_type()).unsqueeze(1)).logical_not();
    if (wrong.any().item<bool>()) {
      const auto index = wrong.flatten().to(at::kByte).argmax().item<int64_t>();
      const int64_t position = index / rope.rotary_dim;
      const int64_t column = index % rope.rotary_dim;
      throw FormatError(
          formatted("{}: expected {} at position {}, column {} by the rotary settings of "
                    "config.json, found {}",
                    where(name), expected[position][column].item<double>(), position, column,
                    found[position][column].item<double>()));
    }
  };
  check("rotary_sin", sin);
  check("rotary_cos", cos);
}

void ForeignTensors::check_all_read() const {
  for (const auto& [name, unused] : tensors_) {
    LORSA_CHECK(read_.contains(name), FormatError,
                "{}: expected only the tensors of this configuration, found one more", where(name));
  }
}

std::string ForeignTensors::dtypes() const {
  std::string names;
  for (const std::string& name : dtypes_) {
    names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

at::Tensor causal_mask_rows(int64_t first, int64_t count, int64_t n_ctx, int64_t num_virtual_keys) {
  return at::ones({count, n_ctx + num_virtual_keys}, at::kBool).tril(first + num_virtual_keys);
}

std::pair<at::Tensor, at::Tensor> rotary_tables(const kernels::RopeSpec& rope, int64_t n_ctx) {
  at::Tensor period;  // of a pair of dimensions, over 2 pi
  if (rope.scaling == kernels::RopeScaling::kLlama3) {
    const at::Tensor exponent =
        at::arange(0, rope.rotary_dim, 2, at::kLong).to(at::kFloat) / rope.rotary_dim;
    const at::Tensor frequency = 1.0 / at::pow(rope.base, exponent);
    const double context = static_cast<double>(rope.original_context);
    const double low = rope.low_freq_factor;
    const double high = rope.high_freq_factor;
    const at::Tensor wave = 2.0 * std::numbers::pi / frequency;
    const at::Tensor scaled = at::where(wave > context / low, frequency / rope.factor, frequency);
    const at::Tensor smooth = (context / wave - low) / (high - low);
    const at::Tensor blended = (1.0 - smooth) * scaled / rope.factor + smooth * scaled;
    period = 1.0 / at::where((wave >= context / high) & (wave <= context / low), blended, scaled);
  } else {
    const at::Tensor pair = at::arange(rope.rotary_dim / 2, at::kFloat);
    period = at::pow(rope.base, pair / (static_cast<double>(rope.rotary_dim) / 2.0));
  }
  const at::Tensor columns = rope.layout == kernels::RopeLayout::kAdjacentPairs
                                 ? at::repeat_interleave(period, 2)
                                 : at::cat({period, period});
  const at::Tensor angle = at::arange(n_ctx, at::kFloat).unsqueeze(1) / columns.unsqueeze(0);
  return {angle.sin(), angle.cos()};
}

int64_t size_member(const io::Json& config, const std::string& key, const std::string& where) {
  const auto size = io::member<int64_t>(config, key, where);
  LORSA_CHECK(size >= 1 && size < kMaxSize, FormatError,
              "{}: {}: expected a size in [1, 2^31), found {}", where, key, size);
  return size;
}

kernels::RopeSpec rope_of_config(const io::Json& config,
                                 bool rotates,
                                 bool adjacent_pairs_default,
                                 int64_t d_qk,
                                 const std::string& where) {
  kernels::RopeSpec rope;
  if (rotates) {
    rope.rotary_dim = size_member(config, "rotary_dim", where);
    LORSA_CHECK(rope.rotary_dim % 2 == 0 && rope.rotary_dim <= d_qk, FormatError,
                "{}: rotary_dim: expected an even number of at most d_qk_head = {}, found {}",
                where, d_qk, rope.rotary_dim);
  }
  rope.base = member_if_present<double>(config, "rotary_base", where, 10000.0);
  LORSA_CHECK(rope.base > 0.0, FormatError, "{}: rotary_base: expected > 0, found {}", where,
              rope.base);
  rope.layout =
      member_if_present<bool>(config, "rotary_adjacent_pairs", where, adjacent_pairs_default)
          ? kernels::RopeLayout::kAdjacentPairs
          : kernels::RopeLayout::kHalfSplit;
  const auto scale = member_if_present<int64_t>(config, "rotary_scale", where, 1);
  LORSA_CHECK(scale == 1, FormatError,
              "{}: rotary_scale: expected 1 (others repeat dimensions), found {}", where, scale);
  if (!member_if_present<bool>(config, "use_NTK_by_parts_rope", where, false)) {
    return rope;
  }
  rope.scaling = kernels::RopeScaling::kLlama3;
  rope.factor = io::member<double>(config, "NTK_by_parts_factor", where);
  rope.low_freq_factor = io::member<double>(config, "NTK_by_parts_low_freq_factor", where);
  rope.high_freq_factor = io::member<double>(config, "NTK_by_parts_high_freq_factor", where);
  rope.original_context = size_member(config, "old_context_len", where);
  LORSA_CHECK(rope.factor > 0.0 && rope.low_freq_factor > 0.0 &&
                  rope.high_freq_factor > rope.low_freq_factor,
              FormatError,
              "{}: use_NTK_by_parts_rope: expected NTK_by_parts_factor > 0 and 0 < "
              "NTK_by_parts_low_freq_factor < NTK_by_parts_high_freq_factor, found {}, {} and {}",
              where, rope.factor, rope.low_freq_factor, rope.high_freq_factor);
  return rope;
}

void validate_read(const DictionaryShape& shape, const std::string& where) {
  try {
    validate(shape);
  } catch (const ConfigError& error) {
    throw FormatError(formatted("{}: {}", where, error.what()));
  }
}

void apply_reading(ReadAs read_as,
                   Normalization stated,
                   const std::optional<Scales>& scales,
                   const std::string& where,
                   CheckpointInfo& info) {
  info.normalization = read_as == ReadAs::kStated   ? stated
                       : read_as == ReadAs::kScaled ? Normalization::kScaled
                                                    : Normalization::kFolded;
  LORSA_CHECK(info.normalization == Normalization::kFolded || scales.has_value(), FormatError,
              "{}: scaled weights need positive mean norms of input and target, found none", where);
  // The factors of the training stay known in folded weights; but a folder that states folded
  // weights may hold any numbers for them.
  if (scales &&
      (stated == Normalization::kScaled || info.normalization == Normalization::kScaled)) {
    info.input_scale = scales->input;
    info.target_scale = scales->target;
  }
}

}  // namespace lorsa::model
