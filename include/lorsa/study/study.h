#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/core/progress.h"
#include "lorsa/core/site.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/lm/tokenizer.h"
#include "lorsa/model/checkpoint.h"

namespace lorsa::study {

/// A dictionary of a study.
struct Member {
  std::string name;              ///< what reports call it: a checkpoint's folder
  model::Dictionary dictionary;  ///< folded, float32, on the study's device
  model::CheckpointInfo info;    ///< of one in memory: the site, and the rest of its cache
};

/// Dictionaries, the caches of their sites and the language model behind them, each opened and
/// checked against the others once; measures take a study and nothing else that is a file.
///
/// Everything must come from one language model: ConfigError naming both sides, what differs, and
/// both values. Digests of weights decide; without one, names do. For one thread at a time.
class LORSA_API Study {
 public:
  /// `device` as resolve_device() takes it.
  explicit Study(const std::string& device = "auto");

  /// The cache of a site. Behind the first it must hold the same rows: tokens, rows held out.
  void open_cache(const std::filesystem::path& folder);
  /// A checkpoint, folded where it is scaled. Throws ConfigError where the width or the input
  /// convention is not that of its site's cache.
  void open_checkpoint(const std::filesystem::path& folder);
  /// A dictionary in memory that reads and writes raw activations, for the first cache's site.
  /// Throws as open_checkpoint(), and ConfigError for a kind that stands for another component.
  void add(const std::string& name, const model::Dictionary& dictionary);
  /// The language model in `folder`, which is read where it is first needed.
  void open_model(const std::filesystem::path& folder, const lm::LoadOptions& options = {});

  [[nodiscard]] c10::Device device() const { return device_; }

  /// The first cache. Throws ConfigError if there is none.
  [[nodiscard]] const data::CacheReader& cache() const;
  /// The cache of a site; null if there is none.
  [[nodiscard]] const data::CacheReader* find_cache(const Site& site) const;

  [[nodiscard]] const std::vector<Member>& members() const { return members_; }

  [[nodiscard]] bool has_model() const { return !model_folder_.empty(); }

  /// Both read at the first call. Throw ConfigError if no folder was given or it is another model.
  [[nodiscard]] const lm::LanguageModel& model() const;
  [[nodiscard]] const lm::Tokenizer& tokenizer() const;

  [[nodiscard]] const std::filesystem::path& model_folder() const { return model_folder_; }

  /// The first cache's own attention, float32 on the device; null for another component.
  [[nodiscard]] const kernels::Mhsa* find_attention() const;

  /// Throws ConfigError unless there are members, all of the first cache's site.
  void require_members_of_cache() const;

 private:
  struct Part {
    std::string where, model_name, weights_sha256;
  };

  void check_model(const Part& part) const;
  void check_shape(const Member& member) const;
  void take(Member member);

  c10::Device device_;
  std::optional<Part> first_;  // every other part is of its language model
  std::vector<std::unique_ptr<data::CacheReader>> caches_;
  std::vector<Member> members_;
  std::filesystem::path model_folder_;
  lm::LoadOptions model_options_;
  mutable std::unique_ptr<lm::LanguageModel> model_;
  mutable std::unique_ptr<lm::Tokenizer> tokenizer_;
  mutable std::optional<kernels::Mhsa> attention_;
};

/// What a site read and wrote, [B, T, D] float32 on the study's device.
struct SiteRows {
  at::Tensor input_BTD;
  at::Tensor target_BTD;
};

/// Rows of a study's caches as measures get them.
class LORSA_API StudyBatch {
 public:
  StudyBatch(const Study& study, const std::vector<int64_t>& rows);

  at::Tensor input_BTD;  ///< of the first cache's site, as SiteRows
  at::Tensor target_BTD;
  at::Tensor scored_BT;  ///< bool, on the study's device

  /// As the first cache has them, on the host: tokens [B, T] int32 and the rows' numbers too.
  [[nodiscard]] const data::Batch& stored() const { return stored_; }

  /// The same rows at another site whose cache is open; read at the first call. Throws ConfigError
  /// if there is none, FormatError if it holds other tokens.
  [[nodiscard]] const SiteRows& at(const Site& site) const;

  /// What a member makes of the rows of its site; computed at the first call.
  [[nodiscard]] const model::Reconstruction& output(size_t member) const;

 private:
  const Study& study_;
  data::Batch stored_;
  mutable std::map<Site, SiteRows> sites_;
  mutable std::vector<std::optional<model::Reconstruction>> outputs_;
};

/// The first `max_rows` held-out rows of a cache, all for 0. Throws ConfigError if there are none.
[[nodiscard]] LORSA_API std::vector<int64_t> heldout_rows(const data::CacheReader& cache,
                                                          int64_t max_rows = 0);

/// At most `wanted` of the `rows`, spread evenly over them; all for 0.
[[nodiscard]] LORSA_API std::vector<int64_t> spread(const std::vector<int64_t>& rows,
                                                    int64_t wanted);

/// How rows are passed over.
struct PassOptions {
  int64_t max_rows = 0;  ///< held-out rows at most; 0: all
  int64_t batch_sequences = 4;
  Progress::Visible progress = Progress::Visible::kYes;
};

/// One pass over rows of the first cache: calls `take` with `batch_sequences` of them at a time, in
/// their order, under a bar with this title. Throws ConfigError for a batch without rows. Honours
/// StopSignal with Interrupted.
LORSA_API void for_each_batch(const Study& study,
                              const std::string& title,
                              const std::vector<int64_t>& rows,
                              const PassOptions& options,
                              const std::function<void(const StudyBatch&)>& take);

}  // namespace lorsa::study
