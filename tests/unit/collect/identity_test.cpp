#include "collect/identity.h"

#include "fixtures.h"
#include "lorsa/core/error.h"
#include "support/test.h"

namespace lorsa::collect {
namespace {

ExtractConfig parsed(const std::string& yaml) {
  ExtractConfig config;
  config::Fields fields;
  describe(fields, config);
  config::load_text(fields, yaml, "test.yaml", {});
  return config;
}

std::string identity_of(const ExtractConfig& config, int64_t layer) {
  Job job;
  job.model_path = config.model.path;
  job.dtype = config.model.dtype;
  job.data = config.data;
  job.out = config.out;
  job.run = config.run;
  return identity_yaml(job, Site{layer});
}

TEST_CASE("ExtractConfig reads the example of the design", "[collect]") {
  const ExtractConfig config = parsed(
      "model:  {path: quickstart/model, dtype: auto}\n"
      "layers: [17]\n"
      "data:   {files: [quickstart/corpus.jsonl], text_key: text, context_length: 256, packing: "
      "pack, prepend_bos: true, max_tokens: 200k, holdout_fraction: 0.05}\n"
      "out:    {path: quickstart/cache, store: input_and_target, dtype: bfloat16, shard_bytes: "
      "8GiB}\n"
      "run:    {device: auto, batch_sequences: 8}\n");
  CHECK(config.model.path == "quickstart/model");
  CHECK(config.layers == std::vector<int64_t>{17});
  CHECK(config.data.files == std::vector<std::string>{"quickstart/corpus.jsonl"});
  CHECK(config.data.max_tokens == 200000);
  CHECK(config.data.packing == data::Packing::kPack);
  CHECK(config.out.store == data::StoreMode::kInputAndTarget);
  CHECK(config.out.dtype == data::StoreDtype::kBFloat16);
  CHECK(config.out.shard_bytes == int64_t{8} << 30);
  CHECK(config.run.batch_sequences == 8);
  CHECK(config.run.threads == 0);
}

TEST_CASE("identity_yaml leaves out what cannot change a row and nothing else", "[collect]") {
  const ExtractConfig config = golden_config("somewhere");
  const std::string yaml = identity_of(config, 2);
  ExtractConfig moved = config;
  moved.layers = {2};
  moved.out.path = "elsewhere";
  moved.run.device = "cuda:1";
  moved.run.threads = 7;
  CHECK(identity_of(moved, 2) == yaml);
  CHECK(identity_of(config, 0) != yaml);
  moved.model.dtype = "bfloat16";
  CHECK(identity_of(moved, 2) != yaml);
  CHECK(parsed(yaml).data.context_length == 16);
}

TEST_CASE("check_same_configuration names every differing key with both values", "[collect]") {
  const ExtractConfig config = golden_config("somewhere");
  ExtractConfig other = config;
  other.data.text_key = "content";
  other.out.dtype = data::StoreDtype::kBFloat16;
  CHECK_NOTHROW(check_same_configuration("cache", identity_of(config, 2), identity_of(config, 2)));
  const std::string message = message_of<ConfigError>(
      [&] { check_same_configuration("cache", identity_of(config, 2), identity_of(other, 2)); });
  CHECK_THAT(message,
             Catch::Contains("data.text_key: cache has text, configuration says content") &&
                 Catch::Contains("out.dtype: cache has float32, configuration says bfloat16"));
  CHECK_THAT(message, !Catch::Contains("data.files"));
}

}  // namespace
}  // namespace lorsa::collect
