#include <fstream>

#include "lorsa/config/fields.h"
#include "lorsa/core/error.h"
#include "sample.h"
#include "support/test.h"
#include "support/throws.h"

using Catch::Matchers::Contains;
using lorsa::test::Color;
using lorsa::test::load_error;
using lorsa::test::load_sample;
using lorsa::test::Sample;

TEST_CASE("a file sets every kind of field", "[config]") {
  const Sample s = load_sample(
      "layers: [17, 2k]\n"
      "train: {tokens: 1.5M, rate: 2.0e-4, shuffle: false, color: green}\n"
      "data:\n"
      "  path: some/folder\n"
      "  files: [b.jsonl, 'c d.jsonl']\n"
      "  shard_bytes: 2GiB\n"
      "  fraction: 0\n",
      {});
  CHECK(s.layers == std::vector<int64_t>{17, 2000});
  CHECK(s.tokens == 1'500'000);
  CHECK(s.rate == 2e-4);
  CHECK_FALSE(s.shuffle);
  CHECK(s.color == Color::kGreen);
  CHECK(s.path == "some/folder");
  CHECK(s.files == std::vector<std::string>{"b.jsonl", "c d.jsonl"});
  CHECK(s.shard_bytes == int64_t{2} << 30);
  CHECK(s.fraction == 0.0);
}

TEST_CASE("what a file leaves out keeps its default", "[config]") {
  for (const char* text : {"", "train:\n", "train: {}\n", "# nothing\n", "data: {path: q}\n"}) {
    CAPTURE(text);
    const Sample s = load_sample(text);
    CHECK(s.tokens == 400'000);
    CHECK(s.files == std::vector<std::string>{"a.jsonl"});
    CHECK(s.path == "p");
  }
}

TEST_CASE("a configuration file may have a byte order mark and must be UTF-8", "[config]") {
  const lorsa::test::TempDir dir;
  Sample sample;
  lorsa::config::Fields fields;
  describe(fields, sample);
  const auto load = [&](const std::string& bytes) {
    std::ofstream(dir / "x.yaml", std::ios::binary) << bytes;
    lorsa::config::load(fields, dir / "x.yaml", {});
  };
  load("\xef\xbb\xbftrain:\r\n  tokens: 7   \r\n\r\ndata: {path: q}\r\n");
  CHECK(sample.tokens == 7);
  const auto error = [&](const std::string& bytes) {
    try {
      load(bytes);
    } catch (const lorsa::ConfigError& refused) {
      return std::string(refused.what());
    }
    return std::string("nothing thrown");
  };
  CHECK_THAT(error(std::string("\xff\xfe{\0}\0", 6)),
             Contains("x.yaml: expected UTF-8, found UTF-16"));
  CHECK_THAT(error("data: {path: q}\n# caf\xe9\n"),
             Contains("x.yaml:2: expected UTF-8, found byte 0xE9"));
  CHECK_THAT(error(std::string("data: {path: q}\n\0\n", 18)),
             Contains("x.yaml:2: expected text, found a NUL"));
}

TEST_CASE("an unknown key names its place and the nearest known key", "[config]") {
  CHECK(load_error("train:\n  tokns: 5\n") ==
        "x.yaml:2:3: unknown key train.tokns; did you mean train.tokens?");
  CHECK(load_error("train:\n  path: q\n") ==
        "x.yaml:2:3: unknown key train.path; did you mean data.path?");
  CHECK(load_error("tokens: 5\n") == "x.yaml:1:1: unknown key tokens; did you mean train.tokens?");
  CHECK(load_error("trian:\n  tokens: 5\n") ==
        "x.yaml:1:1: unknown key trian; did you mean train?");
  CHECK(load_error("train: {momentum: 1}\n") ==
        "x.yaml:1:9: unknown key train.momentum; known here: tokens, rate, shuffle, color");
  CHECK(load_error("train.tokens: 5\n") ==
        "x.yaml:1:1: unknown key 'train.tokens'; write tokens inside the section train");
  CHECK_THAT(load_error("train: {}\nseed:2\n"), Contains("x.yaml:2:1: unknown key seed:2"));
  CHECK_THAT(load_error("train: {}\njust words\n"), Contains("x.yaml:2:1: unknown key just words"));
  CHECK_THAT(load_error("<<: {a: 1}\n"), Contains("x.yaml:1:1: unknown key <<"));
}

TEST_CASE("a duplicate key or section is refused", "[config]") {
  CHECK(load_error("train:\n  tokens: 5\n  tokens: 6\n") ==
        "x.yaml:3:3: duplicate key 'tokens', first given in line 2");
  CHECK(load_error("train: {tokens: 5}\ndata: {}\ntrain: {rate: 1}\n") ==
        "x.yaml:3:1: duplicate key 'train', first given in line 1");
}

TEST_CASE("an ill-typed value names its place, key and type", "[config]") {
  CHECK(load_error("train:\n  tokens: many\n") ==
        "x.yaml:2:11: train.tokens: expected a whole number such as 512, 200k, 1.5M or 2B, found "
        "'many'");
  CHECK_THAT(load_error("train:\n  tokens: 010\n"),
             Contains("x.yaml:2:11: train.tokens: ") && Contains("leading zero"));
  CHECK(load_error("train:\n  shuffle: yes\n") ==
        "x.yaml:2:12: train.shuffle: expected true or false, found 'yes'");
  CHECK(load_error("train:\n  color: blue\n") ==
        "x.yaml:2:10: train.color: expected one of red, green, found 'blue'");
  CHECK(load_error("train:\n  rate: .nan\n") ==
        "x.yaml:2:9: train.rate: expected a finite number, found '.nan'");
  CHECK(load_error("train: {tokens: \"5\"}\n") ==
        "x.yaml:1:17: train.tokens: expected count, found quoted text \"5\"");
  CHECK(load_error("train:\n  shuffle: 'true'\n") ==
        "x.yaml:2:12: train.shuffle: expected boolean, found quoted text \"true\"");
}

TEST_CASE("a value of the wrong shape names its place", "[config]") {
  CHECK(load_error("train:\n  tokens: [5]\n") ==
        "x.yaml:2:11: train.tokens: expected count, found a list");
  CHECK(load_error("train:\n  color: {a: 1}\n") ==
        "x.yaml:2:10: train.color: expected one of red, green, found a map");
  CHECK(load_error("layers: 17\n") ==
        "x.yaml:1:9: layers: expected list of counts, found '17'; write [17]");
  CHECK(
      load_error("layers: [1, two]\n").starts_with("x.yaml:1:13: layers: expected a whole number"));
  CHECK(load_error("layers:\n  - 1\n  - [2]\n") ==
        "x.yaml:3:5: layers: expected list of counts, found a list");
  CHECK(load_error("layers: [1, ~]\n") ==
        "x.yaml:1:13: layers: expected list of counts, found nothing");
  CHECK(load_error("train:\n  rate: 0.5\n  tokens:\n") ==
        "x.yaml:3:3: train.tokens: expected count, found nothing");
  CHECK(load_error("data:\n  path: null\n") ==
        "x.yaml:2:3: data.path: expected text, found nothing");
}

TEST_CASE("a section that is no map is refused", "[config]") {
  CHECK(load_error("train: 5\n") ==
        "x.yaml:1:8: section train: expected keys with values, found '5'");
  CHECK(load_error("train:\n  - tokens\n") ==
        "x.yaml:2:3: section train: expected keys with values, found a list");
}

TEST_CASE("a section of earlier versions is read over where it says nothing", "[config]") {
  Sample sample;
  lorsa::config::Fields fields;
  describe(fields, sample);
  fields.retired("sweep", "another command sweeps");
  const auto load = [&](const std::string& sweep, const std::vector<std::string>& overrides) {
    lorsa::config::load_text(fields, "train: {tokens: 7}\ndata: {path: q}\n" + sweep, "x.yaml",
                             overrides);
  };
  for (const char* nothing : {"", "sweep:\n", "sweep: {}\n", "sweep:\n  top_k: []\n  seed: []\n"}) {
    CAPTURE(nothing);
    CHECK_NOTHROW(load(nothing, {}));
  }
  for (const char* something : {"sweep: 3\n", "sweep: []\n", "sweep: {top_k: [], seed: [1]}\n"}) {
    CAPTURE(something);
    CHECK_THROWS_WITH(load(something, {}),
                      "x.yaml:3:1: section sweep is no more: another command sweeps");
  }
  CHECK_THROWS_WITH(load("", {"sweep.top_k=[1]"}),
                    "--set sweep.top_k: section sweep is no more: another command sweeps");
}

TEST_CASE("a file that is no map is refused", "[config]") {
  CHECK(load_error("hello\n") == "x.yaml:1:1: expected keys with values, found 'hello'");
  CHECK(load_error("- a\n- b\n") == "x.yaml:1:1: expected keys with values, found a list");
}

TEST_CASE("a value outside its range is refused", "[config]") {
  CHECK(load_error("train: {tokens: 0}\n") ==
        "x.yaml:1:17: train.tokens: expected 1 or more, found 0");
  CHECK(load_error("train: {rate: 1.5}\n") ==
        "x.yaml:1:15: train.rate: expected 0 to 1, found 1.5");
  CHECK(load_error("train: {rate: -0.1}\n") ==
        "x.yaml:1:15: train.rate: expected 0 to 1, found -0.1");
  CHECK(load_error("layers: [3, -1]\n") == "x.yaml:1:13: layers: expected 0 or more, found -1");
  CHECK(load_error("data: {shard_bytes: -1KiB}\n") ==
        "x.yaml:1:21: data.shard_bytes: expected 0 or more, found -1KiB");
  CHECK(load_sample("train: {rate: 1, tokens: 1}\n").rate == 1.0);
}

TEST_CASE("a missing required key names its section's place", "[config]") {
  CHECK(load_error("train: {rate: 1}\n", {}) ==
        "x.yaml:1:1: missing key data.path (text): Folder of the cache.");
  CHECK(load_error("train: {rate: 1}\ndata:\n  files: []\n", {}) ==
        "x.yaml:2:1: missing key data.path (text): Folder of the cache.");
  CHECK(load_error("", {}).starts_with("x.yaml:1:1: missing key data.path"));
}

TEST_CASE("text that looks like something else stays text", "[config]") {
  CHECK(load_sample("data: {path: 010}\n", {}).path == "010");
  CHECK(load_sample("data: {path: true}\n", {}).path == "true");
  CHECK(load_sample("data: {path: ''}\n", {}).path.empty());
  CHECK(load_sample("data: {path: \"a\\nb\"}\n", {}).path == "a\nb");
  CHECK(load_sample("data: {path: Grüße}\n", {}).path == "Grüße");
  CHECK(load_sample("data: {path: p, files: []}\n", {}).files.empty());
}

TEST_CASE("load reads a file and puts its path into messages", "[config]") {
  const lorsa::test::TempDir folder;
  const std::filesystem::path path = folder / "run.yaml";
  Sample sample;
  lorsa::config::Fields fields;
  describe(fields, sample);
  std::ofstream(path) << "data: {path: here}\n";
  lorsa::config::load(fields, path, {"train.tokens=7"});
  CHECK(sample.path == "here");
  CHECK(sample.tokens == 7);
  std::ofstream(path) << "data: {pth: here}\n";
  CHECK_THROWS_MATCHES(lorsa::config::load(fields, path, {}), lorsa::ConfigError,
                       Catch::Matchers::Message(
                           path.string() + ":1:8: unknown key data.pth; did you mean data.path?"));
}

TEST_CASE("an empty file lacks its required keys", "[config]") {
  const lorsa::test::TempDir folder;
  const std::filesystem::path path = folder / "empty.yaml";
  std::ofstream(path).flush();
  Sample sample;
  lorsa::config::Fields fields;
  describe(fields, sample);
  CHECK_THROWS_AS(lorsa::config::load(fields, path, {}), lorsa::ConfigError);
  CHECK_NOTHROW(lorsa::config::load(fields, path, {"data.path=x"}));
}

TEST_CASE("a file that cannot be read is an input/output error", "[config]") {
  const lorsa::test::TempDir folder;
  Sample sample;
  lorsa::config::Fields fields;
  describe(fields, sample);
  const std::string missing = (folder / "none.yaml").string();
  CHECK_THROWS_MATCHES(lorsa::config::load(fields, missing, {}), lorsa::IoError,
                       Catch::Matchers::Message("cannot read the configuration " + missing +
                                                ": No such file or directory"));
  CHECK_THROWS_MATCHES(lorsa::config::load(fields, folder.path(), {}), lorsa::IoError,
                       Catch::Matchers::Message("cannot read the configuration " +
                                                folder.path().string() + ": it is a folder"));
}

TEST_CASE("a file that is no configuration is called by its name", "[config]") {
  const lorsa::test::TempDir folder;
  Sample sample;
  lorsa::config::Fields fields;
  describe(fields, sample);
  const auto refused = [&](const std::string& content) {
    std::ofstream(folder / "a.yaml", std::ios::binary) << content;
    return lorsa::test::message_of<lorsa::FormatError>(
        [&] { lorsa::config::load(fields, folder / "a.yaml", {}); });
  };
  CHECK_THAT(refused("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 900\n"),
             Catch::Contains("expected a YAML configuration, found a Git LFS pointer"));
  CHECK_THAT(refused("<!DOCTYPE html><title>Sign in</title>"), Catch::Contains("a web page"));
  CHECK_THAT(refused("\x1f\x8b\x08 packed"), Catch::Contains("gzip data"));
  std::filesystem::create_symlink("nowhere", folder / "link.yaml");
  CHECK_THAT(lorsa::test::message_of<lorsa::IoError>(
                 [&] { lorsa::config::load(fields, folder / "link.yaml", {}); }),
             Catch::Contains("symbolic link to nowhere"));
}
