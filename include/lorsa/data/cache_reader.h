#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/data/manifest.h"
#include "lorsa/kernels/mhsa.h"

namespace lorsa::data {

/// Rows of a cache. input and target [n, T, D] raw, not scaled, in the stored dtype (float32 for
/// int8), tokens [n, T] int32, scored [n, T] bool, heldout [n] bool, document [n] int64.
struct Batch {
  at::Tensor input_BTD;
  at::Tensor target_BTD;  ///< recomputed in float32 from attention.safetensors for store: input
  /// [n, T] float32, the factors of positions that are int8; undefined for other values.
  at::Tensor input_scale_BT, target_scale_BT;
  at::Tensor tokens_BT;
  at::Tensor scored_BT;
  at::Tensor heldout_B;
  at::Tensor document_B;
  std::vector<int64_t> rows;
};

enum class Side { kTraining, kHeldout, kAll };

/// kPinned: page-locked, for copies to a CUDA device.
enum class BatchMemory { kPageable, kPinned };

/// Activations as a Batch describes them, or as they lie on the disk, for a device that does the
/// rest: int8 beside its scales, targets that the cache does not hold undefined.
enum class BatchForm { kReady, kStored };

/// Random access to the rows of a finished cache folder.
///
/// Opens every shard once through HDF5 to find its datasets' offsets, then reads rows with pread:
/// read() may be called from several threads. Throws FormatError for a folder that is not a
/// complete cache, naming file and dataset. Every row is checked against its checksums the first
/// time that it is read; reading it again costs what plain pread costs.
class LORSA_API CacheReader {
 public:
  explicit CacheReader(const std::filesystem::path& folder);
  ~CacheReader();
  CacheReader(CacheReader&&) noexcept;
  CacheReader& operator=(CacheReader&&) noexcept;

  [[nodiscard]] const Manifest& manifest() const;
  [[nodiscard]] const std::filesystem::path& folder() const;
  /// Row numbers of one side, ascending.
  [[nodiscard]] const std::vector<int64_t>& rows(Side side) const;
  /// The rows in the given order. Throws IoError or FormatError naming shard and row.
  [[nodiscard]] Batch read(const std::vector<int64_t>& rows) const;
  /// A batch that read_into() can fill with `num_rows` rows; values are not set.
  [[nodiscard]] Batch make_batch(int64_t num_rows, BatchMemory memory, BatchForm form) const;
  /// read() into the memory of `batch`, made by make_batch() for as many rows of this form.
  void read_into(const std::vector<int64_t>& rows, Batch& batch, BatchForm form) const;
  /// The layer's own attention (attention.safetensors + the manifest's RoPE), float32 on the CPU.
  /// Throws ConfigError where the cached site is none.
  [[nodiscard]] const kernels::Mhsa& attention() const;
  /// The same, null where the cached site is none.
  [[nodiscard]] const kernels::Mhsa* find_attention() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// One finding of verify_cache: file, row (-1: the whole file) and what is wrong.
struct Defect {
  std::string file;
  int64_t row = -1;
  std::string message;
};

/// Re-reads every byte once against manifest and checksums. Returns all defects found; empty means
/// sound. `on_bytes` is told the bytes done and those of all files. An unfinished cache has that
/// defect; its finished shards are looked at all the same.
[[nodiscard]] LORSA_API std::vector<Defect> verify_cache(
    const std::filesystem::path& folder, const std::function<void(int64_t, int64_t)>& on_bytes);

}  // namespace lorsa::data
