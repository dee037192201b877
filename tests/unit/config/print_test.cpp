#include <limits>

#include "lorsa/config/fields.h"
#include "sample.h"
#include "support/test.h"

using lorsa::config::Fields;
using lorsa::test::Color;
using lorsa::test::load_sample;
using lorsa::test::Sample;

TEST_CASE("the resolved configuration is readable YAML", "[config]") {
  Sample sample;
  Fields fields;
  describe(fields, sample);
  CHECK(lorsa::config::to_yaml(fields) ==
        "layers: [3]\n"
        "train:\n"
        "  tokens: 400000\n"
        "  rate: 0.001\n"
        "  shuffle: true\n"
        "  color: red\n"
        "data:\n"
        "  path: cache/layer-17\n"
        "  files: [a.jsonl]\n"
        "  shard_bytes: 8GiB\n"
        "  fraction: 0.05\n");
}

TEST_CASE("what is printed loads as the same values", "[config]") {
  Sample sample;
  sample.layers = {};
  sample.tokens = std::numeric_limits<int64_t>::max();
  sample.rate = 1.0 / 3.0;
  sample.shuffle = false;
  sample.color = Color::kGreen;
  sample.path = "a: \"b\" # c\n\t'd' \\ é 中 😀";
  sample.files = {"", "null", "010", "[x, y]", "- z", "a,b", "true", "  padded  "};
  sample.shard_bytes = 12345;
  sample.fraction = -1e-300;
  Fields fields;
  describe(fields, sample);
  const Sample loaded = load_sample(lorsa::config::to_yaml(fields), {});
  CHECK(loaded.layers == sample.layers);
  CHECK(loaded.tokens == sample.tokens);
  CHECK(loaded.rate == sample.rate);
  CHECK(loaded.shuffle == sample.shuffle);
  CHECK(loaded.color == sample.color);
  CHECK(loaded.path == sample.path);
  CHECK(loaded.files == sample.files);
  CHECK(loaded.shard_bytes == sample.shard_bytes);
  CHECK(loaded.fraction == sample.fraction);
}

TEST_CASE("help lists every key with type, range and default", "[config]") {
  Sample sample;
  Fields fields;
  describe(fields, sample);
  CHECK(lorsa::config::help_text(fields) ==
        "Configuration keys (in the YAML file, or --set section.key=value):\n"
        "  layers: list of counts, >= 0, default [3]\n"
        "      Layers to read.\n"
        "\n"
        "train: The loop.\n"
        "  tokens: count, >= 1, default 400k\n"
        "      Tokens to train on.\n"
        "  rate: number, [0, 1], default 0.001\n"
        "      Peak rate.\n"
        "  shuffle: boolean, default true\n"
        "      Whether the order is random.\n"
        "  color: one of red, green, default red\n"
        "      A colour | a word.\n"
        "\n"
        "data: What is read.\n"
        "  path: text, required\n"
        "      Folder of the cache.\n"
        "  files: list of text, default [a.jsonl]\n"
        "      Documents.\n"
        "  shard_bytes: bytes, >= 0, default 8GiB\n"
        "      Size of a shard.\n"
        "  fraction: number, default 0.05\n"
        "      Held out.\n");
}

TEST_CASE("the documentation is a Markdown table for every section", "[config]") {
  Sample sample;
  Fields fields;
  describe(fields, sample);
  CHECK(lorsa::config::to_markdown(fields) ==
        "| key | type | default | range | meaning |\n"
        "|---|---|---|---|---|\n"
        "| `layers` | list of counts | `[3]` | >= 0 | Layers to read. |\n"
        "\n"
        "### `train`\n"
        "\n"
        "The loop.\n"
        "\n"
        "| key | type | default | range | meaning |\n"
        "|---|---|---|---|---|\n"
        "| `tokens` | count | `400k` | >= 1 | Tokens to train on. |\n"
        "| `rate` | number | `0.001` | [0, 1] | Peak rate. |\n"
        "| `shuffle` | boolean | `true` |  | Whether the order is random. |\n"
        "| `color` | one of red, green | `red` |  | A colour \\| a word. |\n"
        "\n"
        "### `data`\n"
        "\n"
        "What is read.\n"
        "\n"
        "| key | type | default | range | meaning |\n"
        "|---|---|---|---|---|\n"
        "| `path` | text | required |  | Folder of the cache. |\n"
        "| `files` | list of text | `[a.jsonl]` |  | Documents. |\n"
        "| `shard_bytes` | bytes | `8GiB` | >= 0 | Size of a shard. |\n"
        "| `fraction` | number | `0.05` |  | Held out. |\n");
}
