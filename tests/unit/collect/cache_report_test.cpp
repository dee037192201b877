#include "lorsa/collect/cache_report.h"

#include "fixtures.h"
#include "lorsa/core/error.h"
#include "support/test.h"

namespace lorsa::collect {
namespace {

TEST_CASE("cache_folders finds one layer or all of them by number", "[collect]") {
  const test::TempDir dir;
  for (const char* name : {"layer-10", "layer-2", "layer-x", "other"}) {
    std::filesystem::create_directories(dir / name);
    io::write_json(dir / name / "manifest.json", io::Json::object());
  }
  std::filesystem::create_directories(dir / "layer-3");
  using Paths = std::vector<std::filesystem::path>;
  CHECK(cache_folders(dir.path()) == Paths{dir / "layer-2", dir / "layer-10"});
  CHECK(cache_folders(dir / "layer-10") == Paths{dir / "layer-10"});
  CHECK_THAT(message_of<IoError>([&] { static_cast<void>(cache_folders(dir / "layer-3")); }),
             Catch::Contains("layer-3") && Catch::Contains("manifest.json"));
  CHECK_THROWS_AS(cache_folders(dir / "absent"), IoError);
}

TEST_CASE("cache_text and cache_json say what an extraction wrote", "[collect]") {
  const test::TempDir dir;
  const ExtractReport report = extract(golden_config(dir / "cache"), silent());
  const std::filesystem::path folder = dir / "cache/layer-2";
  const data::Manifest manifest = data::read_manifest(folder);
  const std::string text = cache_text(folder, manifest);
  CHECK_THAT(text, Catch::Contains("77 of 16 tokens, 15 held out") &&
                       Catch::Contains("LlamaForCausalLM") &&
                       Catch::Contains("input_and_target, float32") &&
                       Catch::Contains("complete") && Catch::Contains(manifest.weights_sha256));
  const io::Json json = cache_json(folder, manifest);
  CHECK(json.at("num_rows") == kGoldenRows);
  CHECK(json.at("layer") == 2);
  CHECK(json.at("complete") == true);
  CHECK(json.at("bytes").get<int64_t>() > kGoldenRows * 16 * 24 * 4 * 2);
  CHECK_THAT(report_text(report), Catch::Contains("layer-0: 77 rows") &&
                                      Catch::Contains("layer-2: 77 rows") &&
                                      Catch::Contains("tokens/s"));
}

TEST_CASE("plan_text warns that the disk is too small", "[collect]") {
  ExtractPlan plan;
  plan.num_sites = 1;
  plan.num_rows = 782;
  plan.needed_bytes = int64_t{3} << 30;
  plan.free_bytes = int64_t{1} << 30;
  plan.tokens_per_s = 2500;
  plan.seconds = 80;
  CHECK_THAT(plan_text(plan), Catch::Contains("782") && Catch::Contains("3.0 GiB") &&
                                  Catch::Contains("not enough") && Catch::Contains("1m 20s"));
  plan.free_bytes = int64_t{4} << 30;
  CHECK_THAT(plan_text(plan), !Catch::Contains("not enough"));
}

}  // namespace
}  // namespace lorsa::collect
