// Times the shuffled reading of a cache against plain pread of the same bytes from the page cache.
//
// Rounds alternate between pread, a loader whose reader has read every row before, and a loader
// whose reader checks every row against its checksum because it reads it for the first time.

#include <ATen/ATen.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "data/shard_format.h"
#include "lorsa/data/activation_loader.h"
#include "lorsa/data/sampler.h"
#include "made_cache.h"

namespace {

namespace data = lorsa::data;

struct Options {
  int64_t rows = 1024, context_length = 256, d_model = 576, batch = 4, rounds = 9;
  std::vector<int64_t> threads = {1, 2};
  std::string folder;
  std::string out;
};

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Sequences per second of `threads` threads that pread whole rows in the loader's order, each into
/// the same buffers again and again.
class PlainReader {
 public:
  PlainReader(const data::CacheReader& reader, const Options& options) : options_(options) {
    for (const data::ShardInfo& info : reader.manifest().shards) {
      shards_.emplace_back(reader.folder() / info.file, reader.manifest(), info.num_rows);
      files_.push_back(shards_.back().open());
    }
    const auto& rows = reader.rows(data::Side::kTraining);
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto size = static_cast<int64_t>(rows.size());
      order_.push_back(
          rows[static_cast<size_t>(data::sampled_index(static_cast<int64_t>(i), size, 0))]);
    }
  }

  [[nodiscard]] double rate(int64_t threads) const {
    std::atomic<int64_t> next{0};
    const double start = seconds();
    std::vector<std::thread> workers;
    for (int64_t i = 0; i < threads; ++i) {
      workers.emplace_back([&] { work(next); });
    }
    for (std::thread& worker : workers) {
      worker.join();
    }
    return static_cast<double>(order_.size()) / (seconds() - start);
  }

 private:
  void work(std::atomic<int64_t>& next) const {
    static constexpr std::array<data::ShardPart, 4> kParts = {data::kInput, data::kTarget,
                                                              data::kTokens, data::kScored};
    const data::ShardFile& first = shards_.front();
    std::array<std::vector<char>, kParts.size()> buffers;
    for (size_t part = 0; part < kParts.size(); ++part) {
      buffers[part].resize(first.row_bytes(kParts[part]) * static_cast<size_t>(options_.batch));
    }
    const auto size = static_cast<int64_t>(order_.size());
    for (int64_t batch = next++; batch * options_.batch < size; batch = next++) {
      const int64_t end = std::min(size, (batch + 1) * options_.batch);
      for (int64_t i = batch * options_.batch; i < end; ++i) {
        const int64_t row = order_[static_cast<size_t>(i)];
        const auto shard = static_cast<size_t>(row / first.num_rows());
        for (size_t part = 0; part < kParts.size(); ++part) {
          char* slot = buffers[part].data() +
                       first.row_bytes(kParts[part]) * static_cast<size_t>(i % options_.batch);
          const ssize_t got = ::pread(
              files_[shard].get(), slot, first.row_bytes(kParts[part]),
              static_cast<off_t>(shards_[shard].offset(kParts[part], row % first.num_rows())));
          if (got != static_cast<ssize_t>(first.row_bytes(kParts[part]))) {
            std::abort();
          }
        }
      }
    }
  }

  const Options& options_;
  std::vector<data::ShardFile> shards_;
  std::vector<lorsa::io::FileDescriptor> files_;
  std::vector<int64_t> order_;
};

/// One epoch through a loader.
double loader_rate(const data::CacheReader& reader, const Options& options, int64_t threads) {
  data::LoaderOptions loading;
  loading.batch_rows = options.batch;
  loading.num_threads = threads;
  loading.depth = threads + 2;
  const auto size = static_cast<int64_t>(reader.rows(data::Side::kTraining).size());
  const double start = seconds();
  data::ActivationLoader loader(reader, loading);
  int64_t rows = 0;
  while (rows < size) {
    rows += static_cast<int64_t>(loader.next().rows.size());
  }
  return static_cast<double>(rows) / (seconds() - start);
}

nlohmann::json measure(const Options& options, int64_t threads) {
  const data::CacheReader checked(options.folder);
  const PlainReader plain(checked, options);
  static_cast<void>(loader_rate(checked, options, threads));
  std::vector<double> pread_rates;
  std::vector<double> again_rates;
  std::vector<double> first_rates;
  for (int64_t round = 0; round < options.rounds; ++round) {
    pread_rates.push_back(plain.rate(threads));
    again_rates.push_back(loader_rate(checked, options, threads));
    const data::CacheReader fresh(options.folder);
    first_rates.push_back(loader_rate(fresh, options, threads));
  }
  const double base = median(pread_rates);
  const double again = median(again_rates);
  const double first = median(first_rates);
  std::printf("%7ld %10.0f %10.0f %6.2f %10.0f %6.2f\n", static_cast<long>(threads), base, again,
              again / base, first, first / base);
  return {{"threads", threads},
          {"pread_rows_per_s", base},
          {"loader_rows_per_s", again},
          {"loader_first_time_rows_per_s", first}};
}

void run(Options& options) {
  const bool own = options.folder.empty();
  if (own) {
    options.folder = (std::filesystem::temp_directory_path() / "lorsa-bench-reading").string();
    std::filesystem::remove_all(options.folder);
    lorsa::bench::write_made_cache(options.folder, options.rows, options.context_length,
                                   options.d_model);
  }
  std::printf("rows of %ld tokens, width %ld, bfloat16; batches of %ld; medians of %ld rounds\n",
              static_cast<long>(options.context_length), static_cast<long>(options.d_model),
              static_cast<long>(options.batch), static_cast<long>(options.rounds));
  std::printf("%7s %10s %10s %6s %10s %6s\n", "threads", "pread/s", "loader/s", "ratio",
              "1st time/s", "ratio");
  nlohmann::json results = nlohmann::json::array();
  for (const int64_t threads : options.threads) {
    results.push_back(measure(options, threads));
  }
  if (!options.out.empty()) {
    std::ofstream(options.out) << results.dump(2) << '\n';
  }
  if (own) {
    std::filesystem::remove_all(options.folder);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Times the shuffled reading of a cache against plain pread of the same bytes");
  app.add_option("--rows", options.rows, "Rows of the cache that is made")->capture_default_str();
  app.add_option("--context-length", options.context_length, "Tokens of a row")
      ->capture_default_str();
  app.add_option("--d-model", options.d_model, "Width")->capture_default_str();
  app.add_option("--batch", options.batch, "Rows of a batch")->capture_default_str();
  app.add_option("--rounds", options.rounds, "Measurements of each")->capture_default_str();
  app.add_option("--threads", options.threads, "Reader threads, one table row each")
      ->capture_default_str();
  app.add_option("--folder", options.folder, "A cache to read in place of one of random rows");
  app.add_option("--out", options.out, "Also write the figures as JSON to this file");
  CLI11_PARSE(app, argc, argv);
  run(options);
  return 0;
}
