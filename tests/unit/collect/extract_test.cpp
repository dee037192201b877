#include "lorsa/collect/extract.h"

#include <fstream>

#include "fixtures.h"
#include "lorsa/collect/cache_report.h"
#include "lorsa/core/error.h"
#include "lorsa/io/safetensors.h"
#include "lorsa/kernels/mhsa.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/lm/tokenizer.h"
#include "support/tensors.h"
#include "support/test.h"

namespace lorsa::collect {
namespace {

TEST_CASE("extract gives the rows, inputs and targets of transformers", "[collect]") {
  const test::TempDir dir;
  const ExtractReport report = extract(golden_config(dir / "cache"), silent());
  CHECK(report.num_rows == kGoldenRows);
  CHECK(report.num_heldout_rows == kGoldenHeldoutRows);
  CHECK(report.num_tokens == kGoldenRows * 16);
  CHECK(report.rows_before == 0);
  CHECK_FALSE(report.already_complete);
  CHECK(report.corpus_ended);
  REQUIRE(report.folders.size() == 2);

  const io::SafetensorsReader golden(test::golden("collect/rows.safetensors"));
  for (const int64_t layer : {0, 2}) {
    CAPTURE(layer);
    const std::string number = std::to_string(layer);
    const data::Batch rows = all_rows(dir / "cache" / ("layer-" + number));
    CHECK(at::equal(rows.tokens_BT, golden.read("tokens")));
    CHECK(at::equal(rows.scored_BT.to(at::kByte), golden.read("scored")));
    CHECK(at::equal(rows.heldout_B.to(at::kByte), golden.read("heldout")));
    CHECK(at::equal(rows.document_B, golden.read("document")));
    const at::Tensor input = golden.read("input." + number);
    const at::Tensor target = golden.read("target." + number);
    CHECK(test::relative_error(rows.input_BTD.slice(0, 0, input.size(0)), input) < 1e-5);
    CHECK(test::relative_error(rows.target_BTD.slice(0, 0, target.size(0)), target) < 1e-5);
  }
}

TEST_CASE("extract stores an attention that turns the cached input into the cached target",
          "[collect]") {
  const test::TempDir dir;
  extract(golden_config(dir / "cache"), silent());
  for (const char* folder : {"layer-0", "layer-2"}) {
    const data::CacheReader reader(dir / "cache" / folder);
    const data::Batch rows = reader.read(reader.rows(data::Side::kAll));
    const at::Tensor target = kernels::mhsa_forward(reader.attention(), rows.input_BTD);
    CHECK(test::relative_error(target, rows.target_BTD) < 1e-5);
  }
}

// The models of tests/golden/lm have no tokenizer; token ids need one only for the separator.
TEST_CASE("the cache of every architecture has an attention that gives its targets", "[collect]") {
  for (const std::string name : {"tiny-llama3", "tiny-qwen3", "tiny-neox"}) {
    CAPTURE(name);
    const test::TempDir dir;
    std::filesystem::copy(test::golden("lm/" + name), dir / "model");
    std::filesystem::copy(test::golden("tokenizer/gpt2/tokenizer.json"), dir / "model");
    const lm::LanguageModel model(dir / "model", at::kCPU);
    std::ofstream ids(dir / "ids.bin", std::ios::binary);
    for (int i = 0; i < 400; ++i) {
      const auto id = static_cast<uint16_t>((7919 * i + i * i) % model.config().vocabulary_size);
      ids.write(reinterpret_cast<const char*>(&id), sizeof(id));
    }
    ids.close();
    ExtractConfig config = golden_config(dir / "cache");
    config.model.path = (dir / "model").string();
    config.layers = {0, model.config().num_layers - 1};
    config.data.files = {(dir / "ids.bin").string()};
    config.data.holdout_fraction = 0.0;
    config.data.prepend_bos = false;
    extract(config, silent());
    for (const int64_t layer : config.layers) {
      const auto folder = dir / "cache" / ("layer-" + std::to_string(layer));
      const data::CacheReader reader(folder);
      const data::Batch rows = reader.read(reader.rows(data::Side::kAll));
      CHECK(rows.input_BTD.size(0) >= 20);
      const auto expected = model.activations(rows.tokens_BT, {Site{layer}});
      CHECK(test::relative_error(rows.input_BTD, expected[0].input_BTD) < 1e-5);
      CHECK(test::relative_error(rows.target_BTD, expected[0].output_BTD) < 1e-5);
      const at::Tensor target = kernels::mhsa_forward(reader.attention(), rows.input_BTD);
      CHECK(test::relative_error(target, rows.target_BTD) < 1e-5);
    }
  }
}

TEST_CASE("both components of a layer are cached in one pass, row by row alike", "[collect]") {
  const test::TempDir dir;
  ExtractConfig config = golden_config(dir / "cache");
  config.components = {"mlp", "attention"};
  const ExtractReport report = extract(config, silent());
  REQUIRE(report.folders.size() == 4);
  const lm::LanguageModel model(config.model.path, at::kCPU);
  for (const int64_t layer : config.layers) {
    CAPTURE(layer);
    const Site mlp{layer, Component::kMlp};
    const data::Batch attention_rows = all_rows(dir / "cache" / folder_name(Site{layer}));
    const data::Batch rows = all_rows(dir / "cache" / folder_name(mlp));
    CHECK(data::read_manifest(dir / "cache" / folder_name(mlp)).site == mlp);
    CHECK(at::equal(rows.tokens_BT, attention_rows.tokens_BT));
    CHECK(at::equal(rows.scored_BT, attention_rows.scored_BT));
    CHECK(at::equal(rows.heldout_B, attention_rows.heldout_B));
    const auto expected = model.activations(rows.tokens_BT, {mlp});
    CHECK(test::relative_error(rows.input_BTD, expected[0].input_BTD) < 1e-5);
    CHECK(test::relative_error(rows.target_BTD, expected[0].output_BTD) < 1e-5);
    CHECK_FALSE(
        std::filesystem::exists(dir / "cache" / folder_name(mlp) / "attention.safetensors"));
  }
  CHECK(cache_folders(dir / "cache").size() == 4);
  CHECK(extract(config, silent()).already_complete);
}

TEST_CASE("components are refused by name, and MLPs without their outputs", "[collect]") {
  const test::TempDir dir;
  ExtractConfig config = golden_config(dir / "cache");
  config.components = {"attn"};
  CHECK_THROWS_WITH(extract(config, silent()), Catch::Contains("found attn"));
  config.components = {"mlp", "mlp"};
  CHECK_THROWS_WITH(extract(config, silent()), Catch::Contains("mlp stands there twice"));
  config.components = {};
  CHECK_THROWS_AS(extract(config, silent()), ConfigError);
  config.components = {"mlp"};
  config.out.store = data::StoreMode::kInput;
  CHECK_THROWS_WITH(extract(config, silent()), Catch::Contains("out.store: input"));
  CHECK_FALSE(std::filesystem::exists(dir / "cache"));
}

TEST_CASE("extract with store: input leaves the target out and the reader recomputes it",
          "[collect]") {
  const test::TempDir dir;
  extract(golden_config(dir / "both"), silent());
  ExtractConfig config = golden_config(dir / "input");
  config.out.store = data::StoreMode::kInput;
  extract(config, silent());
  const data::Batch both = all_rows(dir / "both/layer-2");
  const data::Batch input = all_rows(dir / "input/layer-2");
  CHECK(at::equal(input.input_BTD, both.input_BTD));
  CHECK(test::relative_error(input.target_BTD, both.target_BTD) < 1e-5);
  CHECK(data::read_manifest(dir / "input/layer-2").target_mean ==
        data::read_manifest(dir / "both/layer-2").target_mean);
}

TEST_CASE("extract in bfloat16 stores the rounded float32 activations", "[collect]") {
  const test::TempDir dir;
  extract(golden_config(dir / "exact"), silent());
  ExtractConfig config = golden_config(dir / "rounded");
  config.out.dtype = data::StoreDtype::kBFloat16;
  config.layers = {2};
  extract(config, silent());
  const data::Batch exact = all_rows(dir / "exact/layer-2");
  const data::Batch rounded = all_rows(dir / "rounded/layer-2");
  CHECK(rounded.input_BTD.scalar_type() == at::kBFloat16);
  CHECK(at::equal(rounded.input_BTD, exact.input_BTD.to(at::kBFloat16)));
  CHECK(at::equal(rounded.target_BTD, exact.target_BTD.to(at::kBFloat16)));
}

TEST_CASE("extract writes what the manifest promises about model, corpus and statistics",
          "[collect]") {
  const test::TempDir dir;
  extract(golden_config(dir / "cache"), silent());
  const data::Manifest manifest = data::read_manifest(dir / "cache/layer-2");
  CHECK(manifest.complete);
  CHECK(manifest.site == Site{2});
  CHECK(manifest.architecture == "LlamaForCausalLM");
  CHECK(manifest.input_convention == "rms_normalized");
  CHECK(manifest.weights_sha256.size() == 64);
  CHECK(manifest.unscored_ids == std::vector<int64_t>{0});
  REQUIRE(manifest.corpus_digests.size() == 1);
  CHECK_THAT(manifest.corpus_digests[0], Catch::StartsWith("corpus.jsonl xxh3:"));
  const data::Batch rows = all_rows(dir / "cache/layer-2");
  const at::Tensor counted = rows.scored_BT.logical_and(rows.heldout_B.logical_not().unsqueeze(1));
  const at::Tensor targets = rows.target_BTD.to(at::kDouble).index({counted});
  const double mean_norm = targets.norm(2, {1}).mean().item<double>();
  CHECK(manifest.target_stats.mean_norm == Approx(mean_norm).epsilon(1e-6));
  CHECK(data::verify_cache(dir / "cache/layer-2", {}).empty());
}

TEST_CASE("extract stops once the rows hold max_tokens", "[collect]") {
  const test::TempDir dir;
  ExtractConfig config = golden_config(dir / "cache");
  config.layers = {0};
  config.data.max_tokens = 10 * 16 + 1;
  const ExtractReport report = extract(config, silent());
  CHECK(report.num_rows == 11);
  CHECK_FALSE(report.corpus_ended);
  const io::SafetensorsReader golden(test::golden("collect/rows.safetensors"));
  CHECK(
      at::equal(all_rows(dir / "cache/layer-0").tokens_BT, golden.read("tokens").slice(0, 0, 11)));
}

TEST_CASE("extract makes the same rows of text and of its token ids", "[collect]") {
  const test::TempDir dir;
  ExtractConfig config = golden_config(dir / "text");
  config.data.holdout_fraction = 0.0;
  extract(config, silent());

  const lm::Tokenizer tokenizer(config.model.path);
  REQUIRE(tokenizer.eos_id().has_value());
  data::CorpusReader corpus(config.data);
  std::ofstream ids(dir / "ids.bin", std::ios::binary);
  const auto put = [&](int32_t id) { ids.write(reinterpret_cast<const char*>(&id), sizeof(id)); };
  while (const auto document = corpus.next()) {
    for (const int32_t id : tokenizer.encode(document->text, lm::SpecialTokens::kNone)) {
      put(id);
    }
    put(*tokenizer.eos_id());
  }
  ids.close();
  config.data.files = {(dir / "ids.bin").string()};
  config.data.token_dtype = data::TokenDtype::kInt32;
  config.out.path = (dir / "ids").string();
  extract(config, silent());

  const data::Batch from_text = all_rows(dir / "text/layer-2");
  const data::Batch from_ids = all_rows(dir / "ids/layer-2");
  CHECK(at::equal(from_ids.tokens_BT, from_text.tokens_BT));
  CHECK(at::equal(from_ids.document_B, from_text.document_B));
  CHECK(at::equal(from_ids.input_BTD, from_text.input_BTD));
  CHECK(at::equal(from_ids.target_BTD, from_text.target_BTD));
}

TEST_CASE("extract refuses what does not fit the model before it makes a folder", "[collect]") {
  const test::TempDir dir;
  const auto refused = [&](const auto& change) {
    ExtractConfig config = golden_config(dir / "cache");
    change(config);
    return message_of<ConfigError>([&] { extract(config, silent()); });
  };
  CHECK_THAT(refused([](ExtractConfig& c) {
               c.layers = {0, 3};
             }),
             Catch::Contains("layers: 3") && Catch::Contains("0 to 2"));
  CHECK_THAT(refused([](ExtractConfig& c) { c.layers = {1, 1}; }), Catch::Contains("twice"));
  CHECK_THAT(refused([](ExtractConfig& c) { c.data.context_length = 65; }),
             Catch::Contains("65") && Catch::Contains("64 positions"));
  CHECK_FALSE(std::filesystem::exists(dir / "cache"));
}

TEST_CASE("extract says that a corpus does not fill a row, and makes no folder", "[collect]") {
  const test::TempDir dir;
  std::ofstream(dir / "short.jsonl") << "{\"text\": \"the river\"}\n";
  ExtractConfig config = golden_config(dir / "cache");
  config.data.files = {(dir / "short.jsonl").string()};
  CHECK_THAT(message_of<FormatError>([&] { extract(config, silent()); }),
             Catch::Contains("does not fill one row"));
  CHECK_FALSE(std::filesystem::exists(dir / "cache"));
}

TEST_CASE("extract refuses a cache that the disk cannot hold, naming both sizes", "[collect]") {
  const test::TempDir dir;
  // A sparse file of 8 TiB costs nothing and makes the corpus look long enough for the plan.
  const std::filesystem::path corpus = dir / "huge.txt";
  std::ofstream(corpus) << "text";
  std::filesystem::resize_file(corpus, uintmax_t{1} << 43);
  ExtractConfig config = golden_config(dir / "cache");
  config.data.files = {corpus.string()};
  config.data.max_tokens = int64_t{1} << 43;
  CHECK_THAT(message_of<IoError>([&] { extract(config, silent()); }),
             Catch::Contains("bytes needed") && Catch::Contains("bytes free"));
  CHECK_FALSE(std::filesystem::exists(dir / "cache"));
}

TEST_CASE("plan_extraction measures, adds up and writes nothing", "[collect]") {
  const test::TempDir dir;
  const ExtractConfig config = golden_config(dir / "cache");
  const ExtractPlan plan = plan_extraction(config);
  CHECK(plan.num_sites == 2);
  CHECK(plan.num_rows == kGoldenRows);
  CHECK(plan.num_tokens == kGoldenRows * 16);
  CHECK(plan.corpus_ends_first);
  CHECK_FALSE(plan.rows_are_estimated);
  CHECK(plan.rows_done == 0);
  CHECK(plan.tokens_per_s > 0);
  CHECK(plan.seconds > 0);
  CHECK(plan.fits());
  CHECK_FALSE(std::filesystem::exists(dir / "cache"));

  extract(config, silent());
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir / "cache/layer-0")) {
    bytes += static_cast<int64_t>(entry.file_size());
  }
  // An upper bound, and no more than the fixed allowances above the truth.
  CHECK(bytes <= plan.bytes_per_site);
  CHECK(plan.bytes_per_site - bytes < int64_t{3} << 20);
  const ExtractPlan again = plan_extraction(config);
  CHECK(again.needed_bytes == 0);
  CHECK(again.rows_done == kGoldenRows);
}

}  // namespace
}  // namespace lorsa::collect
