#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "fixtures.h"
#include "lorsa/core/error.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/io/checksum.h"
#include "lorsa/io/files.h"
#include "support/test.h"

namespace lorsa::collect {
namespace {

/// golden_config() in shards of two batches: 8 rows, the last shard of 5.
ExtractConfig sharded(const std::filesystem::path& out) {
  ExtractConfig config = golden_config(out);
  config.out.shard_bytes = shard_bytes_for(2);
  return config;
}

/// Ends like a crash once `rows` rows were handed to the writers.
void run_until(const ExtractConfig& config, int64_t rows) {
  ExtractOptions options = silent();
  options.on_rows = [rows](int64_t done) {
    if (done >= rows) {
      throw std::runtime_error("simulated crash");
    }
  };
  CHECK_THROWS_WITH(extract(config, options), "simulated crash");
}

/// Every byte of both layers' folders is the same.
void check_same_caches(const std::filesystem::path& a, const std::filesystem::path& b) {
  for (const char* layer : {"layer-0", "layer-2"}) {
    CAPTURE(layer);
    CHECK(names_in(a / layer) == names_in(b / layer));
    const data::Manifest left = data::read_manifest(a / layer);
    const data::Manifest right = data::read_manifest(b / layer);
    REQUIRE(left.shards.size() == right.shards.size());
    CHECK(left.shards.size() == 10);
    for (size_t i = 0; i < left.shards.size(); ++i) {
      CHECK(left.shards[i].checksum == right.shards[i].checksum);
    }
    CHECK(io::read_file(a / layer / "manifest.json") == io::read_file(b / layer / "manifest.json"));
    CHECK(data::verify_cache(b / layer, {}).empty());
  }
}

TEST_CASE("extract continued after a crash ends in the same bytes as one never disturbed",
          "[collect]") {
  const test::TempDir dir;
  extract(sharded(dir / "whole"), silent());
  for (const int64_t rows : {4, 24, 77}) {
    CAPTURE(rows);
    const std::filesystem::path out = dir / ("cut-" + std::to_string(rows));
    run_until(sharded(out), rows);
    CHECK_FALSE(data::read_manifest(out / "layer-0").complete);
    const ExtractReport report = extract(sharded(out), silent());
    CHECK(report.rows_before % 8 == 0);
    CHECK(report.rows_before <= rows);
    check_same_caches(dir / "whole", out);
  }
}

/// Names the folder that the killed process writes to, and the pipe on which it says how far it is.
constexpr const char* kChildFolder = "LORSA_TEST_CHILD_FOLDER";
constexpr const char* kChildPipe = "LORSA_TEST_CHILD_PIPE";

TEST_CASE("child: an extraction that waits to be killed", "[.child]") {
  const char* folder = std::getenv(kChildFolder);
  const char* pipe = std::getenv(kChildPipe);
  REQUIRE(folder != nullptr);
  REQUIRE(pipe != nullptr);
  ExtractOptions options = silent();
  options.on_rows = [&](int64_t rows) {
    const char ready = 1;
    if (rows >= 40 && ::write(std::stoi(pipe), &ready, 1) == 1) {
      ::pause();
    }
  };
  extract(sharded(folder), options);
}

// A process of its own, not a mere fork: LibTorch's thread pools do not survive one.
TEST_CASE("extract continues after kill -9", "[collect]") {
  const test::TempDir dir;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  ::setenv(kChildFolder, (dir / "killed").c_str(), 1);
  ::setenv(kChildPipe, std::to_string(ends[1]).c_str(), 1);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::execl("/proc/self/exe", "test_collect", "[.child]", nullptr);
    ::_exit(127);
  }
  ::close(ends[1]);
  char ready = 0;
  REQUIRE(::read(ends[0], &ready, 1) == 1);
  ::close(ends[0]);
  REQUIRE(::kill(child, SIGKILL) == 0);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  const int64_t rows = data::read_manifest(dir / "killed/layer-2").num_rows;
  CHECK(rows >= 16);
  CHECK(rows <= 40);
  extract(sharded(dir / "killed"), silent());
  extract(sharded(dir / "whole"), silent());
  check_same_caches(dir / "whole", dir / "killed");
}

TEST_CASE("extract brings layers together that stopped at different shards", "[collect]") {
  const test::TempDir dir;
  extract(sharded(dir / "whole"), silent());
  // Layer 0 finished alone; layer 2 stopped in its fourth shard.
  ExtractConfig first = sharded(dir / "apart");
  first.layers = {0};
  extract(first, silent());
  ExtractConfig second = sharded(dir / "apart");
  second.layers = {2};
  run_until(second, 32);
  const ExtractReport report = extract(sharded(dir / "apart"), silent());
  CHECK(report.num_rows == kGoldenRows);
  check_same_caches(dir / "whole", dir / "apart");

  // Both unfinished, apart by some shards: the pass starts at the lower one.
  for (const auto& [layer, rows] : {std::pair<int64_t, int64_t>{0, 64}, {2, 16}}) {
    ExtractConfig one = sharded(dir / "uneven");
    one.layers = {layer};
    run_until(one, rows);
  }
  const auto rows_of = [&](const char* layer) {
    return data::read_manifest(dir / "uneven" / layer).num_rows;
  };
  REQUIRE(rows_of("layer-0") > rows_of("layer-2"));
  const int64_t lower = rows_of("layer-2");
  CHECK(extract(sharded(dir / "uneven"), silent()).rows_before == lower);
  check_same_caches(dir / "whole", dir / "uneven");
}

TEST_CASE("extract does nothing a second time", "[collect]") {
  const test::TempDir dir;
  const ExtractConfig config = sharded(dir / "cache");
  extract(config, silent());
  const auto written = std::filesystem::last_write_time(dir / "cache/layer-0/manifest.json");
  ExtractOptions options = silent();
  int batches = 0;
  options.on_rows = [&](int64_t /*rows*/) { ++batches; };
  const ExtractReport report = extract(config, options);
  CHECK(report.already_complete);
  CHECK(report.num_rows == kGoldenRows);
  CHECK(batches == 0);
  CHECK(std::filesystem::last_write_time(dir / "cache/layer-0/manifest.json") == written);
}

TEST_CASE("extract refuses to go on under another configuration and names the keys", "[collect]") {
  const test::TempDir dir;
  run_until(sharded(dir / "cache"), 24);
  const auto refused = [&](const auto& change) {
    ExtractConfig config = sharded(dir / "cache");
    change(config);
    return message_of<ConfigError>([&] { extract(config, silent()); });
  };
  CHECK_THAT(refused([](ExtractConfig& c) { c.data.context_length = 32; }),
             Catch::Contains("data.context_length: cache has 16, configuration says 32"));
  CHECK_THAT(refused([](ExtractConfig& c) { c.run.batch_sequences = 8; }),
             Catch::Contains("run.batch_sequences"));
  CHECK_THAT(refused([](ExtractConfig& c) {
               c.out.store = data::StoreMode::kInput;
               c.data.holdout_fraction = 0.1;
             }),
             Catch::Contains("out.store") && Catch::Contains("data.holdout_fraction"));
  // What cannot change a row may change.
  ExtractConfig config = sharded(dir / "cache");
  config.run.threads = 1;
  config.run.device = "auto";
  CHECK(extract(config, silent()).num_rows == kGoldenRows);
}

TEST_CASE("extract refuses to go on with a changed corpus or other weights", "[collect]") {
  const test::TempDir dir;
  const auto copy = std::filesystem::copy_options::recursive;
  std::filesystem::copy(test::golden("collect"), dir / "source", copy);
  ExtractConfig config = sharded(dir / "cache");
  config.model.path = (dir / "source/model").string();
  config.data.files = {(dir / "source/corpus.jsonl").string()};
  run_until(config, 24);

  const std::string corpus = io::read_file(dir / "source/corpus.jsonl");
  std::ofstream(dir / "source/corpus.jsonl", std::ios::app) << "{\"text\": \"more\"}\n";
  CHECK_THAT(message_of<ConfigError>([&] { extract(config, silent()); }),
             Catch::Contains("another corpus") && Catch::Contains("corpus.jsonl xxh3:"));
  io::write_file(dir / "source/corpus.jsonl", corpus);

  std::string weights = io::read_file(dir / "source/model/model.safetensors");
  weights[weights.size() - 2] = static_cast<char>(weights[weights.size() - 2] ^ 1);
  io::write_file(dir / "source/model/model.safetensors", weights);
  CHECK_THAT(message_of<ConfigError>([&] { extract(config, silent()); }),
             Catch::Contains("other weights") && Catch::Contains("model.path"));
}

TEST_CASE("extract refuses to go on where the tokenizer or an earlier version made other rows",
          "[collect]") {
  const test::TempDir dir;
  const auto copy = std::filesystem::copy_options::recursive;
  std::filesystem::copy(test::golden("collect/model"), dir / "model", copy);
  ExtractConfig config = sharded(dir / "cache");
  config.model.path = (dir / "model").string();
  run_until(config, 24);

  const std::string tokens = io::read_file(dir / "model/tokenizer_config.json");
  io::write_file(dir / "model/tokenizer_config.json", R"({"bos_token": "!", "eos_token": "a"})");
  CHECK_THAT(message_of<ConfigError>([&] { extract(config, silent()); }),
             Catch::Contains("tokens.bos_id: 0 in the folder, now ") &&
                 Catch::Contains("tokens.separator_id: 0 in the folder, now "));
  io::write_file(dir / "model/tokenizer_config.json", tokens);

  data::Manifest old = data::read_manifest(dir / "cache/layer-0");
  old.own_special_tokens = "kept";
  data::write_manifest(dir / "cache/layer-0", old);
  CHECK_THAT(message_of<ConfigError>([&] { extract(config, silent()); }),
             Catch::Contains("tokens.own_special_tokens: \"kept\" in the folder") &&
                 Catch::Contains("earlier version"));
}

TEST_CASE("extract stops at a signal after its batch, keeps shards and goes on", "[collect]") {
  const test::TempDir dir;
  const ExtractConfig config = sharded(dir / "stopped");
  {
    const StopSignal stop;
    ExtractOptions options = silent();
    options.on_rows = [](int64_t rows) {
      if (rows == 20) {
        std::raise(SIGTERM);
      }
    };
    CHECK_THAT(message_of<Interrupted>([&] { extract(config, options); }),
               Catch::Contains("after 20 of") && Catch::Contains("run the same command again"));
  }
  const data::Manifest manifest = data::read_manifest(dir / "stopped/layer-2");
  CHECK_FALSE(manifest.complete);
  CHECK(manifest.num_rows == 16);
  for (const std::string& name : names_in(dir / "stopped/layer-2")) {
    CHECK_FALSE(name.ends_with(".tmp"));
  }
  const StopSignal next_run;  // forgets the signal
  CHECK(extract(config, silent()).rows_before == 16);
  extract(sharded(dir / "whole"), silent());
  check_same_caches(dir / "whole", dir / "stopped");
}

}  // namespace
}  // namespace lorsa::collect
