#include "sample.h"
#include "support/test.h"

using lorsa::test::Color;
using lorsa::test::load_error;
using lorsa::test::load_sample;
using lorsa::test::Sample;

TEST_CASE("overrides win over the file, the last one over the others", "[config]") {
  const Sample s = load_sample("train: {tokens: 5, rate: 0.5}\ndata: {path: p}\n",
                               {"train.tokens=6", "train.tokens=7k"});
  CHECK(s.tokens == 7000);
  CHECK(s.rate == 0.5);
}

TEST_CASE("overrides are YAML scalars and flow lists", "[config]") {
  const Sample s =
      load_sample("", {"layers=[1, 2]", "train.color=green", "train.shuffle=false", "data.path=a=b",
                       "data.files=['x y', z]", "data.shard_bytes=1MiB"});
  CHECK(s.layers == std::vector<int64_t>{1, 2});
  CHECK(s.color == Color::kGreen);
  CHECK_FALSE(s.shuffle);
  CHECK(s.path == "a=b");
  CHECK(s.files == std::vector<std::string>{"x y", "z"});
  CHECK(s.shard_bytes == 1 << 20);
  CHECK(load_sample("", {"data.path=''"}).path.empty());
}

TEST_CASE("a wrong override names its key", "[config]") {
  const auto error = [](const std::string& argument) { return load_error("", {argument}); };
  CHECK(error("train.tokens") ==
        "--set train.tokens: expected key=value, such as train.tokens=400k");
  CHECK(error("=5") == "--set =5: expected key=value, such as train.tokens=400k");
  CHECK(error("") == "--set : expected key=value, such as train.tokens=400k");
  CHECK(error("train.tokns=5") == "--set train.tokns: unknown key; did you mean train.tokens?");
  CHECK(error("tokens=5") == "--set tokens: unknown key; did you mean train.tokens?");
  CHECK(error("trian.tokens=5") ==
        "--set trian.tokens: unknown section trian; did you mean train?");
  CHECK(error("optimizer.x=5") ==
        "--set optimizer.x: unknown section optimizer; known sections: train, data");
  CHECK(error("train=5") == "--set train: this is a section; name one of its keys");
  CHECK(error("train.tokens=0") == "--set train.tokens: expected 1 or more, found 0");
  CHECK(error("train.tokens=x").starts_with("--set train.tokens: expected a whole number"));
  CHECK(error("train.tokens=") == "--set train.tokens: expected count, found nothing");
  CHECK(error("train.tokens=[1]") == "--set train.tokens: expected count, found a list");
  CHECK(error("train.tokens={a: 1}") == "--set train.tokens: expected count, found a map");
  CHECK(error("layers=3") == "--set layers: expected list of counts, found '3'; write [3]");
  CHECK(error("layers=[1, 2").ends_with("is a bracket left open?"));
  CHECK(error("data.path='x").starts_with("--set data.path: not valid YAML: "));
  CHECK(error("data.path=*x").starts_with("--set data.path: "));
  CHECK(error("train.rate=1\n---\n2") ==
        "--set train.rate: expected one YAML document, found a second one");
}

TEST_CASE("an error of the file is reported although an override would hide it", "[config]") {
  CHECK(load_error("train: {tokens: x}\n", {"train.tokens=5"}).starts_with("x.yaml:1:17: "));
}
