#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "lorsa/io/json.h"
#include "lorsa/io/pending_folder.h"
#include "lorsa/kernels/sparse.h"

namespace lorsa::analysis {

/// What an export in delphi's layout is made of.
struct DelphiPlan {
  std::filesystem::path folder;  ///< of all modules
  std::string module;
  int64_t num_heads = 0;
  int64_t num_splits = 0;  ///< files, each of a range of heads
  int64_t num_rows = 0;
  int64_t context_length = 0;
};

/// Writes the activations of all heads in the layout of delphi's latent cache (docs/formats.md).
///
/// Activations go to a file for each split as they come, and behind the last row into the split's
/// safetensors file, so that memory does not grow with them. All lies in `<folder>/<module>.tmp`,
/// which is renamed by finish(). One thread.
class DelphiExport {
 public:
  /// Begins anew, or where `written` (what sync() gave) is not empty goes on behind it. Throws
  /// ConfigError if something else than an export is in the way, FormatError if what was written is
  /// not there.
  DelphiExport(const DelphiPlan& plan, const std::vector<int64_t>& written);

  /// True if an unfinished export of this plan lies where one would be written.
  [[nodiscard]] static bool is_unfinished(const DelphiPlan& plan);

  /// Where the module's folder will stand.
  [[nodiscard]] const std::filesystem::path& final_path() const { return final_; }

  /// Takes what a batch kept, as HeadCollector::add(); tokens [B, T] int32. Activations at tokens
  /// that are not scored are left out.
  void add(const kernels::TopK& kept, const at::Tensor& scored_BT, const at::Tensor& tokens_BT);

  /// Makes what was added durable and returns how much that is: rows, then activations by split.
  [[nodiscard]] std::vector<int64_t> sync();

  /// From now on what was written stays without finish(), to be gone on with.
  void keep_unfinished() { pending_->keep_unfinished(); }

  /// Writes the splits and config.json of `config` and puts the module's folder in its place.
  void finish(const io::Json& config);

 private:
  struct Split {
    int64_t begin, end;       // heads
    int64_t activations = 0;  // so far
    std::ofstream locations, values;
    std::vector<char> location_bytes, value_bytes;  // of the batch
  };

  [[nodiscard]] std::filesystem::path spill(const Split& split, const char* what) const;
  void open(std::ofstream& file, const std::filesystem::path& path, int64_t bytes) const;
  template <typename Index>
  void take(const kernels::TopK& kept, const at::Tensor& scored_BT);
  void write_split(const Split& split) const;

  DelphiPlan plan_;
  std::filesystem::path final_;
  std::unique_ptr<io::PendingFolder> pending_;
  bool wide_;  // 32-bit locations
  int64_t rows_ = 0;
  std::vector<Split> splits_;
  std::vector<int32_t> split_of_head_;
  std::ofstream tokens_;
};

}  // namespace lorsa::analysis
