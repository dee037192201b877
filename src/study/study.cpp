#include "lorsa/study/study.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/core/stop_signal.h"

namespace lorsa::study {
namespace {

template <typename Value>
void require_same(const std::string& first,
                  const std::string& second,
                  const char* what,
                  const Value& ours,
                  const Value& theirs) {
  LORSA_CHECK(ours == theirs, ConfigError, "{} and {} do not belong together: {} is {} and {}",
              first, second, what, ours, theirs);
}

std::string where(const data::CacheReader& cache) {
  return "cache " + cache.folder().string();
}

}  // namespace

Study::Study(const std::string& device) : device_(resolve_device(device)) {}

void Study::open_cache(const std::filesystem::path& folder) {
  auto cache = std::make_unique<data::CacheReader>(folder);
  const data::Manifest& m = cache->manifest();
  const Part part{where(*cache), m.model_name, m.weights_sha256};
  check_model(part);
  if (!caches_.empty()) {
    const data::CacheReader& first = *caches_.front();
    const data::Manifest& f = first.manifest();
    const auto same = [&](const char* what, const auto& ours, const auto& theirs) {
      require_same(where(first), where(*cache), what, ours, theirs);
    };
    LORSA_CHECK(find_cache(m.site) == nullptr, ConfigError, "{}: a second cache of {}", folder,
                to_string(m.site));
    same("context_length", f.context_length, m.context_length);
    same("number of rows", f.num_rows, m.num_rows);
    same("number of scored tokens", f.num_scored_tokens, m.num_scored_tokens);
    LORSA_CHECK(f.corpus_digests == m.corpus_digests, ConfigError,
                "{} and {} do not belong together: other texts", where(first), where(*cache));
    LORSA_CHECK(first.rows(data::Side::kHeldout) == cache->rows(data::Side::kHeldout), ConfigError,
                "{} and {} do not belong together: other held-out rows", where(first),
                where(*cache));
  }
  caches_.push_back(std::move(cache));
  first_ = first_.value_or(part);
  for (const Member& member : members_) {
    check_shape(member);
  }
}

void Study::open_checkpoint(const std::filesystem::path& folder) {
  model::LoadedDictionary loaded = model::load_folded(folder);
  const Part part{"checkpoint " + folder.string(), loaded.info.model_name,
                  loaded.info.weights_sha256};
  check_model(part);
  loaded.dictionary.to(device_, at::kFloat);
  take({folder.string(), std::move(loaded.dictionary), std::move(loaded.info)});
  first_ = first_.value_or(part);
}

void Study::add(const std::string& name, const model::Dictionary& dictionary) {
  const data::Manifest& manifest = cache().manifest();
  const model::KindInfo& kind = dictionary.info();
  LORSA_CHECK(kind.component.value_or(manifest.site.component) == manifest.site.component,
              ConfigError, "{}: {} does not stand for {}, which {} holds", name, kind.noun,
              to_string(manifest.site), cache().folder());
  model::CheckpointInfo info;
  info.model_name = manifest.model_name;
  info.weights_sha256 = manifest.weights_sha256;
  info.site = manifest.site;
  info.input_convention = manifest.input_convention;
  model::Dictionary moved = dictionary;  // its tensors are shared: a study changes none
  moved.to(device_, at::kFloat);
  take({name, std::move(moved), info});
}

void Study::check_shape(const Member& member) const {
  if (const data::CacheReader* of_site = find_cache(member.info.site)) {
    const data::Manifest& manifest = of_site->manifest();
    require_same(member.name, where(*of_site), "d_model", member.dictionary.shape().d_model,
                 manifest.d_model);
    require_same(member.name, where(*of_site), "input convention", member.info.input_convention,
                 manifest.input_convention);
  }
}

void Study::take(Member member) {
  check_shape(member);
  members_.push_back(std::move(member));
}

void Study::open_model(const std::filesystem::path& folder, const lm::LoadOptions& options) {
  model_folder_ = folder;
  model_options_ = options;
}

void Study::check_model(const Part& part) const {
  if (!first_) {
    return;
  }
  if (!first_->weights_sha256.empty() && !part.weights_sha256.empty()) {
    require_same(first_->where, part.where, "SHA-256 of the language model's weights",
                 first_->weights_sha256, part.weights_sha256);
  } else {
    require_same(first_->where, part.where, "the language model", first_->model_name,
                 part.model_name);
  }
}

const data::CacheReader& Study::cache() const {
  LORSA_CHECK(!caches_.empty(), ConfigError, "expected a cache, found none");
  return *caches_.front();
}

const data::CacheReader* Study::find_cache(const Site& site) const {
  const auto found = std::find_if(caches_.begin(), caches_.end(), [&](const auto& cache) {
    return cache->manifest().site == site;
  });
  return found == caches_.end() ? nullptr : found->get();
}

const lm::LanguageModel& Study::model() const {
  LORSA_CHECK(has_model(), ConfigError, "expected a language model, found none");
  if (model_ == nullptr) {
    auto model = std::make_unique<lm::LanguageModel>(model_folder_, device_, model_options_);
    check_model(
        {"model folder " + model_folder_.string(), model->config().name, model->weights_sha256()});
    model_ = std::move(model);
  }
  return *model_;
}

const lm::Tokenizer& Study::tokenizer() const {
  LORSA_CHECK(has_model(), ConfigError, "expected a language model's tokenizer, found none");
  if (tokenizer_ == nullptr) {
    tokenizer_ = std::make_unique<lm::Tokenizer>(model_folder_);
  }
  return *tokenizer_;
}

const kernels::Mhsa* Study::find_attention() const {
  if (!attention_ && cache().find_attention() != nullptr) {
    attention_ = cache().attention().to(device_, at::kFloat);
  }
  return attention_ ? &*attention_ : nullptr;
}

void Study::require_members_of_cache() const {
  LORSA_CHECK(!members_.empty(), ConfigError, "expected at least one checkpoint, found none");
  for (const Member& member : members_) {
    require_same(member.name, where(cache()), "the site", to_string(member.info.site),
                 to_string(cache().manifest().site));
  }
}

StudyBatch::StudyBatch(const Study& study, const std::vector<int64_t>& rows)
    : study_(study), stored_(study.cache().read(rows)), outputs_(study.members().size()) {
  input_BTD = stored_.input_BTD.to(study.device(), at::kFloat);
  target_BTD = stored_.target_BTD.to(study.device(), at::kFloat);
  scored_BT = stored_.scored_BT.to(study.device());
  sites_[study.cache().manifest().site] = {input_BTD, target_BTD};
}

const SiteRows& StudyBatch::at(const Site& site) const {
  const auto known = sites_.find(site);
  if (known != sites_.end()) {
    return known->second;
  }
  const data::CacheReader* cache = study_.find_cache(site);
  LORSA_CHECK(cache != nullptr, ConfigError, "expected a cache of {}, found none", to_string(site));
  const data::Batch batch = cache->read(stored_.rows);
  LORSA_CHECK(::at::equal(batch.tokens_BT, stored_.tokens_BT), FormatError,
              "{}: row {} and those behind it hold other tokens than {}", cache->folder(),
              stored_.rows.front(), study_.cache().folder());
  return sites_[site] = {batch.input_BTD.to(study_.device(), at::kFloat),
                         batch.target_BTD.to(study_.device(), at::kFloat)};
}

const model::Reconstruction& StudyBatch::output(size_t member) const {
  std::optional<model::Reconstruction>& output = outputs_.at(member);
  if (!output) {
    const Member& one = study_.members()[member];
    const SiteRows& rows = at(one.info.site);
    output = one.dictionary.reconstruct(one.dictionary.read_of(rows.input_BTD, rows.target_BTD));
  }
  return *output;
}

std::vector<int64_t> heldout_rows(const data::CacheReader& cache, int64_t max_rows) {
  std::vector<int64_t> rows = cache.rows(data::Side::kHeldout);
  if (max_rows > 0 && static_cast<size_t>(max_rows) < rows.size()) {
    rows.resize(static_cast<size_t>(max_rows));
  }
  LORSA_CHECK(!rows.empty(), ConfigError,
              "{} holds no held-out rows: extract with data.holdout_fraction > 0", cache.folder());
  return rows;
}

std::vector<int64_t> spread(const std::vector<int64_t>& rows, int64_t wanted) {
  const auto available = static_cast<int64_t>(rows.size());
  const int64_t count = wanted == 0 ? available : std::min(wanted, available);
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < count; ++i) {
    chosen.push_back(rows[static_cast<size_t>(i * available / count)]);
  }
  return chosen;
}

void for_each_batch(const Study& study,
                    const std::string& title,
                    const std::vector<int64_t>& rows,
                    const PassOptions& options,
                    const std::function<void(const StudyBatch&)>& take) {
  const int64_t size = options.batch_sequences;
  LORSA_CHECK(size > 0, ConfigError, "batch_sequences: expected a positive number, found {}", size);
  const auto num_rows = static_cast<int64_t>(rows.size());
  const int64_t length = study.cache().manifest().context_length;
  Progress bar(title, num_rows * length, "tokens", 0, options.progress);
  for (int64_t first = 0; first < num_rows; first += size) {
    if (StopSignal::requested()) {
      throw Interrupted(formatted("{}: stopped after {} of {} rows; nothing was written", title,
                                  first, num_rows));
    }
    const int64_t last = std::min(first + size, num_rows);
    take({study, {rows.begin() + first, rows.begin() + last}});
    bar.update(last * length);
  }
  bar.finish();
}

}  // namespace lorsa::study
