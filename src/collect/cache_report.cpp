#include "lorsa/collect/cache_report.h"

#include <algorithm>
#include <iomanip>
#include <optional>
#include <sstream>

#include "io/folder_kind.h"
#include "lorsa/core/error.h"
#include "lorsa/core/progress.h"
#include "lorsa/core/site.h"

namespace lorsa::collect {
namespace {

bool is_cache(const std::filesystem::path& folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder / "manifest.json", ignored);
}

int64_t bytes_on_disk(const std::filesystem::path& folder) {
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    bytes += entry.is_regular_file() ? static_cast<int64_t>(entry.file_size()) : 0;
  }
  return bytes;
}

io::Json stats_json(const data::ActivationStats& stats) {
  return {{"mean_norm", stats.mean_norm}, {"second_moment", stats.second_moment}};
}

/// "  key        value" lines.
class Lines {
 public:
  template <typename... Parts>
  void add(const std::string& key, MessageFormat<sizeof...(Parts)> format, const Parts&... parts) {
    out_ << "  " << key << std::string(key.size() < 12 ? 12 - key.size() : 1, ' ')
         << format_parts(format.text, {parts...}) << '\n';
  }

  [[nodiscard]] std::string text() const { return out_.str(); }

 private:
  std::ostringstream out_;
};

}  // namespace

std::vector<std::filesystem::path> cache_folders(const std::filesystem::path& path) {
  if (is_cache(path)) {
    return {path};
  }
  std::vector<std::pair<Site, std::filesystem::path>> found;
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(path, code)) {
    const std::optional<Site> site = site_of_folder(entry.path().filename().string());
    if (site && is_cache(entry.path())) {
      found.emplace_back(*site, entry.path());
    }
  }
  LORSA_CHECK(!found.empty(), IoError,
              "{}: expected a cache (manifest.json) or folders layer-N with one, {}", path,
              io::found_instead(path, io::Place::kCache));
  std::sort(found.begin(), found.end());
  std::vector<std::filesystem::path> folders;
  for (const auto& [site, folder] : found) {
    folders.push_back(folder);
  }
  return folders;
}

std::string cache_text(const std::filesystem::path& folder, const data::Manifest& manifest) {
  Lines lines;
  lines.add("model", "{} ({})", manifest.model_name, manifest.architecture);
  lines.add("weights", "sha256 {}", manifest.weights_sha256);
  lines.add("site", "{}, inputs {}", to_string(manifest.site), manifest.input_convention);
  lines.add("rows", "{} of {} tokens, {} held out", manifest.num_rows, manifest.context_length,
            manifest.num_heldout_rows);
  lines.add("tokens", "{}, {} scored", manifest.num_tokens, manifest.num_scored_tokens);
  lines.add("stored", "{}, {}, {} shards, {}", to_string(manifest.store), to_string(manifest.dtype),
            manifest.shards.size(), format_bytes(static_cast<double>(bytes_on_disk(folder))));
  lines.add("mean norms", "input {}, target {} at width {}", manifest.input_stats.mean_norm,
            manifest.target_stats.mean_norm, manifest.d_model);
  for (const std::string& digest : manifest.corpus_digests) {
    lines.add("corpus", "{}", digest);
  }
  lines.add("state", "{}",
            manifest.complete ? "complete" : "unfinished: run lorsa-cache extract again to go on");
  return folder.string() + "\n" + lines.text();
}

io::Json cache_json(const std::filesystem::path& folder, const data::Manifest& manifest) {
  return {{"folder", folder.string()},
          {"model_name", manifest.model_name},
          {"architecture", manifest.architecture},
          {"weights_sha256", manifest.weights_sha256},
          {"layer", manifest.site.layer},
          {"component", to_string(manifest.site.component)},
          {"input_convention", manifest.input_convention},
          {"store", to_string(manifest.store)},
          {"dtype", to_string(manifest.dtype)},
          {"context_length", manifest.context_length},
          {"d_model", manifest.d_model},
          {"num_rows", manifest.num_rows},
          {"num_heldout_rows", manifest.num_heldout_rows},
          {"num_tokens", manifest.num_tokens},
          {"num_scored_tokens", manifest.num_scored_tokens},
          {"packing", manifest.packing},
          {"prepend_bos", manifest.prepend_bos},
          {"unscored_ids", manifest.unscored_ids},
          {"bos_id", manifest.bos_id ? io::Json(*manifest.bos_id) : io::Json(nullptr)},
          {"separator_id",
           manifest.separator_id ? io::Json(*manifest.separator_id) : io::Json(nullptr)},
          {"input_stats", stats_json(manifest.input_stats)},
          {"target_stats", stats_json(manifest.target_stats)},
          {"corpus_digests", manifest.corpus_digests},
          {"num_shards", manifest.shards.size()},
          {"bytes", bytes_on_disk(folder)},
          {"complete", manifest.complete}};
}

std::string plan_text(const ExtractPlan& plan) {
  Lines lines;
  const std::string rows_note = plan.rows_are_estimated  ? " (estimated, the corpus ends there)"
                                : plan.corpus_ends_first ? " (the corpus ends there)"
                                                         : "";
  lines.add("sites", "{}", plan.num_sites);
  lines.add("rows", "{}{}", plan.num_rows, rows_note);
  if (plan.rows_done > 0) {
    lines.add("done", "{} rows in finished shards", plan.rows_done);
  }
  lines.add("tokens", "{}", plan.num_tokens);
  lines.add("a site", "{}", format_bytes(static_cast<double>(plan.bytes_per_site)));
  lines.add("needed", "{}", format_bytes(static_cast<double>(plan.needed_bytes)));
  lines.add("free", "{}{}", format_bytes(static_cast<double>(plan.free_bytes)),
            plan.fits() ? "" : ": not enough, the extraction would be refused");
  if (plan.tokens_per_s > 0) {
    lines.add("speed", "{} tokens/s, measured on one batch", format_si(plan.tokens_per_s));
    lines.add("time", "about {}", format_duration(plan.seconds));
  } else {
    lines.add("time", "none: all sites are complete");
  }
  return lines.text();
}

std::string report_text(const ExtractReport& report) {
  std::ostringstream out;
  for (const std::filesystem::path& folder : report.folders) {
    out << folder.string() << ": " << report.num_rows << " rows, " << report.num_heldout_rows
        << " held out, " << report.num_tokens << " tokens"
        << (report.already_complete ? " (already complete)" : "") << '\n';
  }
  if (!report.already_complete && report.num_rows > report.rows_before) {
    const double tokens = static_cast<double>(report.num_tokens) /
                          static_cast<double>(report.num_rows) *
                          static_cast<double>(report.num_rows - report.rows_before);
    out << format_si(tokens / report.seconds) << " tokens/s, " << format_duration(report.seconds)
        << ", of which " << std::fixed << std::setprecision(1)
        << 100.0 * report.write_wait_s / report.seconds << " % waiting for writing\n";
  }
  return out.str();
}

}  // namespace lorsa::collect
