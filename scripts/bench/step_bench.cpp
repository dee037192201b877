// Times one training step of this library against the same model written with torch autograd and
// dense decode, against what the machine could do at best, and part by part.
//
// Both implementations and the machine's rates are measured in turn in this process, on the same
// batch, weights and thread count; figures are medians. A step is forward, loss, backward, the
// gradients' norm and Adam (LibTorch's fused one for the dense model). See scripts/bench/step.sh;
// authors_step.py and train.sh drive it beside the authors' library and lorsa-train.

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "kernels/part_timer.h"
#include "lorsa/core/device.h"
#include "made_cache.h"
#include "step_cases.h"
#include "step_floor.h"
#include "step_models.h"

namespace lorsa::bench {
namespace {

constexpr std::array<const char*, kernels::kNumParts> kPartNames = {
    "projections",        "rope",
    "attention forward",  "top-k",
    "decode and loss",    "decode backward",
    "attention backward", "weight gradients",
    "norm and Adam"};

/// Sizes of a small, a middle and a large Lorsa. The last two need 1 and 3 GiB.
const std::vector<Size> kSizes = {{576, 2304, 36, 64, 32, 256, 4},
                                  {768, 6144, 96, 64, 64, 256, 4},
                                  {1024, 16384, 128, 128, 64, 512, 4}};

/// Llama-3.1-8B's, for a device of 80 GB.
const std::vector<Size> kCudaSizes = {{4096, 32768, 256, 128, 64, 1024, 8},
                                      {4096, 32768, 256, 128, 64, 1024, 16},
                                      {4096, 32768, 256, 128, 64, 1024, 64}};

struct Options {
  c10::Device device = c10::kCPU;
  std::vector<Size> sizes = kSizes;
  int64_t repeats = 9;
  std::vector<int> threads = {1, 2};
  std::string out;
  std::vector<Skew> skews = {Skew::kEven};
  std::string checkpoint, cache;  ///< empty: random weights and data
  int64_t batch = 4;              ///< sequences of the cache
  std::string case_out, cache_out;
  int64_t rows = 64;  ///< of cache_out
  bool driven = false;
};

struct Figures {
  std::string size;
  int threads = 0;
  double tokens = 0.0;
  double lorsa_s = 0.0;
  std::optional<double> dense_s;  ///< nothing where the dense model does not fit
  double flops_per_s = 0.0;       ///< of LibTorch's large product
  double bytes_per_s = 0.0;       ///< of a copy
  double flops = 0.0;
  double kept_flops = 0.0;
  double kept_queries = 0.0;  ///< share of the (position, QK head) pairs that own a kept head
  double kept_values = 0.0;   ///< share of dW_V's rows that can be other than 0
  double bytes = 0.0;
  double added_bytes = 0.0;  ///< of kernels that run beside no product: 0 on the CPU
  kernels::PartTimes parts_s = {};

  [[nodiscard]] double flop_floor_s() const { return flops / flops_per_s; }

  [[nodiscard]] double byte_floor_s() const { return bytes / bytes_per_s; }

  /// What the step is measured against: the FLOPs', on CUDA also the sparse kernels' and Adam's
  /// bytes.
  [[nodiscard]] double floor_s() const { return flop_floor_s() + added_bytes / bytes_per_s; }

  /// The same where all that can follows the kept heads.
  [[nodiscard]] double kept_floor_s() const {
    return kept_flops / flops_per_s + added_bytes / bytes_per_s;
  }

  [[nodiscard]] double other_s() const {
    double rest = lorsa_s;
    for (const double part : parts_s) {
      rest -= part;
    }
    return rest;
  }
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Whether the dense model's step fits beside the sparse one's, which has run, without taking
/// memory back and forth between them. Counted: float32 weights, moments and gradients, and what
/// its graph keeps of a position, 24 bytes a component of q and k and 26 a head.
bool dense_fits(const Case& made, c10::Device device) {
  if (!device.is_cuda()) {
    return true;
  }
  const auto width = static_cast<double>(made.shape.num_qk_heads * made.shape.d_qk);
  const auto heads = static_cast<double>(made.shape.num_ov_heads);
  const double weights = 2.0 * (width + heads) * static_cast<double>(made.shape.d_model);
  const double graph =
      static_cast<double>(made.batch.scored_BT.numel()) * (24.0 * width + 26.0 * heads);
  const auto sparse = static_cast<double>(tensor_memory(device).peak_bytes);
  return sparse + 16.0 * weights + graph < 0.9 * static_cast<double>(device_memory_bytes(device));
}

Figures measure(const Case& made, int threads, int64_t repeats, c10::Device device) {
  at::set_num_threads(threads);
  const Batch& batch = made.batch;
  const int64_t B = batch.x_BTD.size(0), T = batch.x_BTD.size(1);
  SparseStep sparse(made.shape, made.weights);
  MachineRates rates(device);
  const double sparse_loss = sparse.run(batch);
  std::optional<DenseAutogradStep> dense;
  if (dense_fits(made, device)) {
    dense.emplace(made.shape, made.weights);
    const double dense_loss = dense->run(batch);
    const double tolerance = device.is_cuda() ? 1e-2 : 1e-4;
    LORSA_CHECK(std::abs(sparse_loss - dense_loss) < tolerance * dense_loss, Error,
                "the two implementations disagree: loss {} and {}", sparse_loss, dense_loss);
  }
  std::vector<double> sparse_s, dense_s, flops_per_s, bytes_per_s;
  std::array<std::vector<double>, kernels::kNumParts> parts_s;
  for (int64_t i = 0; i < repeats; ++i) {
    kernels::PartTimes parts = {};
    if (!device.is_cuda()) {
      kernels::recorded_parts = &parts;
    }
    const double start = seconds(device);
    sparse.run(batch);
    const double middle = seconds(device);
    kernels::recorded_parts = nullptr;
    sparse_s.push_back(middle - start);
    if (dense) {
      dense->run(batch);
      dense_s.push_back(seconds(device) - middle);
    }
    if (device.is_cuda()) {
      // Apart, for a step that waits at every part is slower.
      kernels::part_barrier = [] { synchronize(c10::kCUDA); };
      kernels::recorded_parts = &parts;
      sparse.run(batch);
      kernels::recorded_parts = nullptr;
      kernels::part_barrier = nullptr;
    }
    for (size_t part = 0; part < parts.size(); ++part) {
      parts_s[part].push_back(parts[part]);
    }
    flops_per_s.push_back(rates.product());
    bytes_per_s.push_back(rates.copy());
  }
  const KeptWork work = kept_work(made.shape, B, T, sparse.kept());
  Figures f;
  f.size = made.name;
  f.threads = threads;
  f.tokens = static_cast<double>(B * T);
  f.lorsa_s = median(sparse_s);
  f.dense_s = dense ? std::optional(median(dense_s)) : std::nullopt;
  f.flops_per_s = median(flops_per_s);
  f.bytes_per_s = median(bytes_per_s);
  f.flops = device.is_cuda() ? dense_attention_flops(made.shape, B, T)
                             : step_flops(made.shape, B, T, work);
  f.kept_flops = kept_flops(made.shape, B, T, work);
  f.kept_queries = work.query_rows / (f.tokens * static_cast<double>(made.shape.num_qk_heads));
  f.kept_values = work.value_rows / (f.tokens * static_cast<double>(made.shape.num_ov_heads));
  f.bytes = step_bytes(made.shape, B, T);
  f.added_bytes = device.is_cuda() ? sparse_bytes(made.shape, B, T) : 0.0;
  std::transform(parts_s.begin(), parts_s.end(), f.parts_s.begin(), median);
  return f;
}

/// A step for every line of standard input; prints its seconds and its loss.
void be_driven(const Case& made, int threads, c10::Device device) {
  at::set_num_threads(threads);
  SparseStep sparse(made.shape, made.weights);
  std::string line;
  while (std::getline(std::cin, line)) {
    const double start = seconds(device);
    const double loss = sparse.run(made.batch);
    std::printf("%.9g %.9g\n", seconds(device) - start, loss);
    std::fflush(stdout);
  }
}

void print(const std::vector<Figures>& all) {
  std::printf(
      "\n| size | threads | lorsa tokens/s | dense tokens/s | ratio | at::mm GFLOP/s | copy GB/s "
      "| FLOP floor ms | byte floor ms | step ms | share of floor | kept queries | kept values "
      "| kept floor ms | share of kept floor |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
  for (const Figures& f : all) {
    std::printf("| %s | %d | %.0f |", f.size.c_str(), f.threads, f.tokens / f.lorsa_s);
    if (f.dense_s) {
      std::printf(" %.0f | %.2f |", f.tokens / *f.dense_s, *f.dense_s / f.lorsa_s);
    } else {
      std::printf(" - | - |");
    }
    std::printf(" %.0f | %.1f | %.1f | %.1f | %.1f | %.2f | %.2f | %.2f | %.1f | %.2f |\n",
                f.flops_per_s * 1e-9, f.bytes_per_s * 1e-9, f.flop_floor_s() * 1e3,
                f.byte_floor_s() * 1e3, f.lorsa_s * 1e3, f.floor_s() / f.lorsa_s, f.kept_queries,
                f.kept_values, f.kept_floor_s() * 1e3, f.kept_floor_s() / f.lorsa_s);
  }
  std::printf("\n| ms of a step |");
  for (const Figures& f : all) {
    std::printf(" %s; %d |", f.size.c_str(), f.threads);
  }
  std::printf("\n|---|");
  for (size_t i = 0; i < all.size(); ++i) {
    std::printf("---|");
  }
  for (size_t part = 0; part < kernels::kNumParts; ++part) {
    std::printf("\n| %s |", kPartNames[part]);
    for (const Figures& f : all) {
      std::printf(" %.1f |", f.parts_s[part] * 1e3);
    }
  }
  std::printf("\n| other |");
  for (const Figures& f : all) {
    std::printf(" %.1f |", f.other_s() * 1e3);
  }
  std::printf("\n| step |");
  for (const Figures& f : all) {
    std::printf(" %.1f |", f.lorsa_s * 1e3);
  }
  std::printf("\n");
}

nlohmann::json as_json(const Figures& f) {
  nlohmann::json parts;
  for (size_t part = 0; part < kernels::kNumParts; ++part) {
    parts[kPartNames[part]] = f.parts_s[part];
  }
  parts["other"] = f.other_s();
  nlohmann::json dense_rate, ratio;
  if (f.dense_s) {
    dense_rate = f.tokens / *f.dense_s;
    ratio = *f.dense_s / f.lorsa_s;
  }
  return {{"size", f.size},
          {"threads", f.threads},
          {"lorsa_tokens_per_s", f.tokens / f.lorsa_s},
          {"dense_autograd_tokens_per_s", dense_rate},
          {"ratio", ratio},
          {"product_flops_per_s", f.flops_per_s},
          {"copy_bytes_per_s", f.bytes_per_s},
          {"step_flops", f.flops},
          {"kept_flops", f.kept_flops},
          {"kept_queries", f.kept_queries},
          {"kept_values", f.kept_values},
          {"step_bytes", f.bytes},
          {"flop_floor_s", f.flop_floor_s()},
          {"byte_floor_s", f.byte_floor_s()},
          {"step_s", f.lorsa_s},
          {"floor_s", f.floor_s()},
          {"share_of_floor", f.floor_s() / f.lorsa_s},
          {"kept_floor_s", f.kept_floor_s()},
          {"share_of_kept_floor", f.kept_floor_s() / f.lorsa_s},
          {"parts_s", parts}};
}

Size parse_size(const std::string& text) {
  Size s{};
  char rest = 0;
  LORSA_CHECK(std::sscanf(text.c_str(), "%ld,%ld,%ld,%ld,%ld,%ld,%ld%c", &s.D, &s.H, &s.S, &s.E,
                          &s.K, &s.T, &s.B, &rest) == 7,
              ConfigError, "--size {}: expected seven numbers D,H,S,E,K,T,batch", text);
  return s;
}

/// Made one after the other: several do not fit in memory together.
std::vector<std::function<Case()>> cases_of(const Options& o) {
  std::vector<std::function<Case()>> cases;
  if (!o.checkpoint.empty()) {
    cases.emplace_back([&] { return stored_case(o.checkpoint, o.cache, o.batch, o.device); });
    return cases;
  }
  for (const Size& size : o.sizes) {
    for (const Skew skew : o.skews) {
      cases.emplace_back([&o, size, skew] { return random_case(size, skew, o.device); });
    }
  }
  return cases;
}

void measure_all(const Options& o) {
  std::vector<Figures> all;
  for (const auto& make : cases_of(o)) {
    const Case made = make();
    for (const int threads : o.threads) {
      std::fprintf(stderr, "step: %s, %d threads\n", made.name.c_str(), threads);
      try {
        all.push_back(measure(made, threads, o.repeats, o.device));
      } catch (const c10::OutOfMemoryError& error) {
        std::fprintf(stderr, "step: left out, for it does not fit: %s\n",
                     error.what_without_backtrace());
      }
    }
  }
  std::printf(
      "%s, %s, %s, medians of %ld interleaved repeats\n", device_description(o.device).c_str(),
      o.device.is_cuda() ? "bfloat16 products" : "float32",
      o.checkpoint.empty() ? "random data" : "trained weights on stored activations", o.repeats);
  print(all);
  if (!o.out.empty()) {
    nlohmann::json out = nlohmann::json::array();
    std::transform(all.begin(), all.end(), std::back_inserter(out), as_json);
    std::ofstream(o.out) << out.dump(2) << '\n';
  }
}

int run(int argc, char** argv) {
  Options o;
  std::vector<std::string> sizes;
  std::string device = "cpu";
  CLI::App app(
      "Times a training step against torch autograd with dense decode, against the machine's "
      "product rate, and part by part (medians, interleaved).");
  app.add_option("--size", sizes, "D,H,S,E,K,T,batch; may be repeated (default: three sizes)");
  app.add_option("--device", device, "cpu, or cuda: bfloat16 products")->capture_default_str();
  app.add_option("--repeats", o.repeats)->capture_default_str();
  auto* threads = app.add_option("--threads", o.threads)->capture_default_str();
  app.add_option("--out", o.out, "Write the figures as JSON");
  std::vector<std::string> skews;
  app.add_option("--skew", skews,
                 "How often heads of random data act: even, all alike; trained, as those of a "
                 "trained Lorsa (default: even; with --device cuda both)")
      ->check(CLI::IsMember({"even", "trained"}));
  auto* checkpoint =
      app.add_option("--checkpoint", o.checkpoint, "Weights, instead of random ones");
  auto* cache = app.add_option("--cache", o.cache, "Whose training rows are the data");
  checkpoint->needs(cache);
  cache->needs(checkpoint);
  app.add_option("--batch", o.batch, "Sequences of --cache")->needs(cache)->capture_default_str();
  app.add_option("--case-out", o.case_out,
                 "Write weights and batch to this folder for authors_step.py, and end");
  auto* cache_out = app.add_option("--cache-out", o.cache_out,
                                   "Write a cache of random values to this folder, and end");
  app.add_option("--rows", o.rows, "Of --cache-out")->needs(cache_out)->capture_default_str();
  app.add_flag("--driven", o.driven,
               "Time nothing else: take a step for every line of standard input, print its seconds "
               "and loss");
  CLI11_PARSE(app, argc, argv);
  o.device = resolve_device(device);
  if (o.device.is_cuda()) {
    o.sizes = kCudaSizes;
    o.skews = {Skew::kEven, Skew::kTrained};
    o.threads = threads->count() > 0 ? o.threads : std::vector{at::get_num_threads()};
  }
  if (!sizes.empty()) {
    o.sizes.clear();
    std::transform(sizes.begin(), sizes.end(), std::back_inserter(o.sizes), parse_size);
  }
  if (!skews.empty()) {
    o.skews.clear();
    std::transform(skews.begin(), skews.end(), std::back_inserter(o.skews), [](const auto& word) {
      return word == "trained" ? Skew::kTrained : Skew::kEven;
    });
  }
  if (!o.cache_out.empty()) {
    write_made_cache(o.cache_out, o.rows, o.sizes.front().T, o.sizes.front().D);
  } else if (!o.case_out.empty()) {
    write_case(cases_of(o).front()(), o.case_out);
  } else if (o.driven) {
    be_driven(cases_of(o).front()(), o.threads.front(), o.device);
  } else {
    measure_all(o);
  }
  return 0;
}

}  // namespace
}  // namespace lorsa::bench

int main(int argc, char** argv) {
  // As tools/main.cpp does, for both implementations.
  static_cast<void>(::mallopt(M_MMAP_MAX, 0));
  static_cast<void>(::mallopt(M_TRIM_THRESHOLD, -1));
  try {
    return lorsa::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "step: %s\n", error.what());
    return 1;
  }
}
