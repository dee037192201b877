#include "lorsa/eval/convert.h"

#include <ATen/ATen.h>

#include <filesystem>

#include "eval/readings.h"
#include "lorsa/core/error.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "support/file_size_limit.h"
#include "support/lorsa_oracle.h"
#include "support/test.h"
#include "support/throws.h"
#include "support/tiny_cache.h"

using namespace lorsa;
using eval::ConvertOptions;
using model::CheckpointKind;
using model::Normalization;

namespace {

namespace fs = std::filesystem;

ConvertOptions from_peer(const std::string& name, const fs::path& output) {
  ConvertOptions options;
  options.input = test::golden("interchange/" + name);
  options.output = output;
  return options;
}

std::string refusal(const ConvertOptions& options) {
  return test::message_of<ConfigError>([&] { static_cast<void>(eval::convert(options)); });
}

/// A Lorsa for write_tiny_cache()'s layer, layer 1, as llamascopium writes it.
model::Dictionary tiny_lorsa() {
  model::DictionaryShape shape;
  shape.d_model = 20;
  shape.num_ov_heads = 40;
  shape.num_qk_heads = 5;
  shape.d_qk = 8;
  shape.top_k = 4;
  shape.rope.rotary_dim = 8;
  at::manual_seed(71);
  return {shape, test::random_weights(shape, at::kFloat)};
}

}  // namespace

TEST_CASE("the reading that reproduces the layer is the better one", "[eval]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 20);
  const auto judged = [&](const model::ImportedDictionary& each) {
    study::Study study("cpu");
    study.open_cache(dir / "cache");
    return eval::judge_readings(each, study);
  };
  const model::Scales scales{1.7, 0.4};
  const model::LoadedDictionary exact{test::exact_lorsa(test::tiny_attention()),
                                      model::CheckpointInfo()};
  model::ImportedDictionary imported{exact, scales, "inference", true, "float32", {}};
  const eval::Readings folded = judged(imported);
  REQUIRE(folded.num_rows == 4);
  REQUIRE(folded.fvu_folded < 1e-9);
  REQUIRE(*folded.fvu_scaled > 0.1);
  REQUIRE(folded.better() == Normalization::kFolded);
  imported.loaded.dictionary.fold(1.0 / scales.input, 1.0 / scales.target);
  const eval::Readings scaled = judged(imported);
  REQUIRE(*scaled.fvu_scaled < 1e-9);
  REQUIRE(scaled.fvu_folded > 0.1);
  REQUIRE(scaled.l0_scaled == 24.0);
  REQUIRE(scaled.better() == Normalization::kScaled);
  imported.scales.reset();
  REQUIRE_FALSE(judged(imported).fvu_scaled);
}

TEST_CASE("convert goes to lorsa and back by default", "[eval]") {
  const test::TempDir dir;
  ConvertOptions options = from_peer("dataset-wise", dir / "ours");
  const eval::ConvertReport report = eval::convert(options);
  REQUIRE(report.from == CheckpointKind::kLlamascopium);
  REQUIRE(report.to == CheckpointKind::kOwn);
  REQUIRE(report.written);
  REQUIRE(report.warnings.size() == 1);
  test::require_parts(report.warnings[0], {"dataset-wise", "`cache`", "`normalization` folded"});
  test::require_parts(report_text(report),
                      {"llamascopium, float32", "128 OV heads", "topk, K 8", "half_split",
                       "scaled, input by 0.581165", "stated: dataset-wise", "wrote"});
  ConvertOptions back;
  back.input = dir / "ours";
  back.output = dir / "back";
  REQUIRE(eval::convert(back).to == CheckpointKind::kLlamascopium);
  for (const char* file : {"config.json", "sae_weights.safetensors"}) {
    REQUIRE(io::read_file(dir / "back" / file) ==
            io::read_file(test::golden("interchange/dataset-wise") / file));
  }
}

TEST_CASE("with a cache a checkpoint learns its language model and both readings are judged",
          "[eval]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 20);
  model::CheckpointInfo info;
  info.site.layer = 1;
  info.normalization = Normalization::kScaled;
  info.input_scale = 2.0;
  info.target_scale = 3.0;
  model::save_llamascopium(dir / "peer", tiny_lorsa(), info, 16);
  ConvertOptions options;
  options.input = dir / "peer";
  options.output = dir / "ours";
  options.cache = dir / "cache";
  const eval::ConvertReport report = eval::convert(options);
  REQUIRE(report.readings);
  REQUIRE(report.readings->num_rows == 4);
  REQUIRE(report.warnings.size() == (report.readings->better() == Normalization::kScaled ? 0 : 1));
  REQUIRE_THAT(report_text(report), Catch::Contains("as folded (4 rows)"));
  const model::CheckpointInfo written = model::load_checkpoint(dir / "ours").info;
  REQUIRE(written.weights_sha256 == "0000");
  REQUIRE(written.model_name == "tiny");
  REQUIRE(written.input_convention == "rms_normalized");
  // Whichever reading is worse on this cache is warned of when it is asked for.
  options.output = dir / "other";
  options.read_as = report.readings->better() == Normalization::kScaled ? model::ReadAs::kFolded
                                                                        : model::ReadAs::kScaled;
  const eval::ConvertReport other = eval::convert(options);
  REQUIRE(other.warnings.size() == 1);
  test::require_parts(other.warnings[0], {"reconstruct the cache better as", "`normalization`"});
}

TEST_CASE("a cache of another layer or model is refused by both values", "[eval]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 10);
  ConvertOptions options = from_peer("folded", dir / "out");
  options.cache = dir / "cache";
  test::require_parts(refusal(options), {"cache", "d_model", "20", "64"});
  model::CheckpointInfo info;
  info.site.layer = 2;
  model::save_llamascopium(dir / "peer", tiny_lorsa(), info, 16);
  options.input = dir / "peer";
  test::require_parts(refusal(options), {"layer is 1", "checkpoint's 2"});
  info.site.layer = 1;
  info.weights_sha256 = "1234";
  model::save_llamascopium(dir / "peer", tiny_lorsa(), info, 16);
  test::require_parts(refusal(options), {"SHA-256", "0000", "1234"});
  REQUIRE_FALSE(fs::exists(dir / "out"));
}

TEST_CASE("options that contradict the input are refused", "[eval]") {
  const test::TempDir dir;
  static_cast<void>(eval::convert(from_peer("folded", dir / "ours")));
  ConvertOptions options;
  options.input = dir / "ours";
  options.output = dir / "out";
  SECTION("a reading of our own checkpoint") {
    options.read_as = model::ReadAs::kFolded;
    test::require_parts(refusal(options), {"`normalization`", (dir / "ours").string()});
  }
  SECTION("a cache for our own checkpoint") {
    options.cache = dir / "cache";
    test::require_parts(refusal(options), {"`cache`", "lorsa-eval"});
  }
  SECTION("the original as target") {
    options.to = CheckpointKind::kOriginal;
    test::require_parts(refusal(options), {"`to`", "not written"});
  }
  SECTION("a context length for our own format") {
    options.to = CheckpointKind::kOwn;
    options.n_ctx = 5;
    test::require_parts(refusal(options), {"`n_ctx`"});
  }
  SECTION("no name for the output") {
    options.output = ".";
    test::require_parts(refusal(options), {"OUTPUT", "names no new folder"});
  }
  REQUIRE_FALSE(fs::exists(dir / "out"));
}

TEST_CASE("an output folder is replaced on demand and only if it is a checkpoint", "[eval]") {
  const test::TempDir dir;
  ConvertOptions options = from_peer("folded", dir / "out");
  static_cast<void>(eval::convert(options));
  const std::string before = io::read_file(dir / "out/lorsa.json");
  options.input = test::golden("interchange/jumprelu");
  test::require_parts(refusal(options), {(dir / "out").string(), "exists", "`force`"});
  REQUIRE(io::read_file(dir / "out/lorsa.json") == before);
  options.force = true;
  static_cast<void>(eval::convert(options));
  REQUIRE(io::read_file(dir / "out/lorsa.json") != before);
  REQUIRE_FALSE(fs::exists(dir / "out.old"));
  io::write_file(dir / "out/notes", "mine");
  test::require_parts(refusal(options), {(dir / "out").string(), "more than a checkpoint"});
  options.input = dir / "out";
  test::require_parts(refusal(options), {"is the input"});
  REQUIRE(io::read_file(dir / "out/notes") == "mine");
}

TEST_CASE("what a killed conversion left is cleared, other files are not", "[eval]") {
  const test::TempDir dir;
  fs::create_directories(dir / "out.tmp");
  io::write_file(dir / "out.tmp/model.safetensors.tmp", "half");
  const ConvertOptions options = from_peer("folded", dir / "out");
  static_cast<void>(eval::convert(options));
  REQUIRE_FALSE(fs::exists(dir / "out.tmp"));
  fs::remove_all(dir / "out");
  fs::create_directories(dir / "out.tmp");
  io::write_file(dir / "out.tmp/notes", "mine");
  test::require_parts(refusal(options), {(dir / "out.tmp").string(), "in the way"});
  REQUIRE(io::read_file(dir / "out.tmp/notes") == "mine");
}

TEST_CASE("a full disk leaves no folder, and an older one as it was", "[eval]") {
  const test::TempDir dir;
  ConvertOptions options = from_peer("jumprelu", dir / "out");
  static_cast<void>(eval::convert(options));
  const std::string before = io::read_file(dir / "out/model.safetensors");
  options.input = test::golden("interchange/folded");
  options.force = true;
  {
    const test::FileSizeLimit limit(10000);
    REQUIRE_THROWS_AS(eval::convert(options), IoError);
    options.output = dir / "new";
    REQUIRE_THROWS_AS(eval::convert(options), IoError);
  }
  REQUIRE(io::read_file(dir / "out/model.safetensors") == before);
  for (const char* name : {"out.tmp", "out.old", "new", "new.tmp"}) {
    INFO(name);
    REQUIRE_FALSE(fs::exists(dir / name));
  }
}

TEST_CASE("a dry run reports, refuses and writes nothing", "[eval]") {
  const test::TempDir dir;
  ConvertOptions options = from_peer("original-signed", dir / "out");
  options.dry_run = true;
  const eval::ConvertReport report = eval::convert(options);
  REQUIRE_FALSE(report.written);
  test::require_parts(report_text(report),
                      {"original, float32", "topk_signed, K 4", "2 virtual keys", "would write"});
  options.to = CheckpointKind::kLlamascopium;
  REQUIRE_THROWS_AS(eval::convert(options), FormatError);
  REQUIRE(fs::is_empty(dir.path()));
}

TEST_CASE("a mask that no disk holds is refused before anything is written", "[eval]") {
  const test::TempDir dir;
  ConvertOptions options = from_peer("folded", dir / "ours");
  static_cast<void>(eval::convert(options));
  options.input = dir / "ours";
  options.output = dir / "peer";
  options.n_ctx = (int64_t{1} << 31) - 1;  // 4 EiB
  const auto refused = [&] {
    return test::message_of<IoError>([&] { static_cast<void>(eval::convert(options)); });
  };
  test::require_parts(refused(),
                      {(dir / "peer").string(), "4.0 EiB needed", "n_ctx x n_ctx", "`n_ctx`"});
  REQUIRE_FALSE(fs::exists(dir / "peer"));
  REQUIRE_FALSE(fs::exists(dir / "peer.tmp"));
  options.n_ctx = 3000;
  const eval::ConvertReport report = eval::convert(options);
  const auto written = static_cast<double>(fs::file_size(dir / "peer" / "sae_weights.safetensors"));
  REQUIRE(report.bytes == Approx(written).margin(10'000));
  // Reading compares the mask with the one that config.json makes, piece by piece.
  options.input = dir / "peer";
  options.output = dir / "back";
  options.n_ctx = 0;
  static_cast<void>(eval::convert(options));
  REQUIRE(io::read_file(dir / "back" / "lorsa.json").find("3000") != std::string::npos);
}
