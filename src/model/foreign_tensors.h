#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lorsa/io/json.h"
#include "lorsa/io/safetensors.h"
#include "lorsa/model/dictionary.h"
#include "lorsa/model/interchange.h"

// What both projects' files share: a state dict with the weights and with buffers that follow from
// the configuration (mask, IGNORE, rotary tables). The buffers are checked, not kept: they say how
// their own code computes.

namespace lorsa::model {

/// The tensors of one file, each to be asked for once. All errors are FormatErrors that name file,
/// tensor, expected and found.
class ForeignTensors {
 public:
  ForeignTensors(std::string file, io::NamedTensors tensors);

  [[nodiscard]] bool contains(const std::string& name) const;
  /// As float32, contiguous, a copy. float32, bfloat16 and float16 of that shape, finite.
  at::Tensor weight(const std::string& name, const std::vector<int64_t>& shape);
  /// A single number of a floating dtype, of whatever value.
  double number(const std::string& name);

  /// `mask` lets query i meet the keys up to i + num_virtual_keys.
  void check_mask(int64_t n_ctx, int64_t num_virtual_keys);
  /// `IGNORE` is -infinity.
  void check_ignore();
  /// `rotary_sin` and `rotary_cos` are those of `rope`, to the rounding of other devices.
  void check_rotary(const kernels::RopeSpec& rope, int64_t n_ctx);
  /// Refuses tensors that nobody asked for.
  void check_all_read() const;

  /// Dtypes of the weights that were read: "float32", "bfloat16, float32".
  [[nodiscard]] std::string dtypes() const;

 private:
  const at::Tensor& find(const std::string& name, const std::vector<int64_t>& shape);
  [[nodiscard]] std::string where(const std::string& name) const;

  std::string file_;
  io::NamedTensors tensors_;
  std::set<std::string> read_;
  std::set<std::string> dtypes_;
};

/// Rows first to first + count - 1 of the mask [n_ctx, n_ctx + num_virtual_keys] bool, which is
/// lower triangular, shifted right by num_virtual_keys. The whole one has 16 GiB at the 131,072
/// positions of Llama 3.1.
[[nodiscard]] at::Tensor causal_mask_rows(int64_t first,
                                          int64_t count,
                                          int64_t n_ctx,
                                          int64_t num_virtual_keys);

/// sin and cos, [n_ctx, rotary_dim] float32 each, rounded as both projects do: the angle is the
/// position over the period, while the kernels take the position times the frequency.
[[nodiscard]] std::pair<at::Tensor, at::Tensor> rotary_tables(const kernels::RopeSpec& rope,
                                                              int64_t n_ctx);

/// A whole number in [1, 2^31): a size. FormatError otherwise.
[[nodiscard]] int64_t size_member(const io::Json& config,
                                  const std::string& key,
                                  const std::string& where);

/// Member `key`, or `fallback` where it is absent. Unlike member_or(), null is an error.
template <typename T>
[[nodiscard]] T member_if_present(const io::Json& config,
                                  const std::string& key,
                                  const std::string& where,
                                  T fallback) {
  return config.contains(key) ? io::member<T>(config, key, where) : fallback;
}

/// Reads rotary_dim (unless `rotates` is false), rotary_base, rotary_adjacent_pairs, rotary_scale,
/// use_NTK_by_parts_rope and its factors.
[[nodiscard]] kernels::RopeSpec rope_of_config(const io::Json& config,
                                               bool rotates,
                                               bool adjacent_pairs_default,
                                               int64_t d_qk,
                                               const std::string& where);

/// Throws validate()'s ConfigErrors as FormatErrors of `where`.
void validate_read(const DictionaryShape& shape, const std::string& where);

/// Settles what the weights are read as: normalization and scales of `info`.
void apply_reading(ReadAs read_as,
                   Normalization stated,
                   const std::optional<Scales>& scales,
                   const std::string& where,
                   CheckpointInfo& info);

}  // namespace lorsa::model
