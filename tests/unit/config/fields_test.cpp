#include "lorsa/config/fields.h"

#include "lorsa/core/error.h"
#include "sample.h"
#include "support/test.h"

using lorsa::config::Field;
using lorsa::config::Fields;
using lorsa::test::Sample;

namespace {

const Field& find(const Fields& fields, const std::string& key) {
  for (const Field& field : fields.all()) {
    if (field.key == key) {
      return field;
    }
  }
  throw lorsa::Error("no field " + key);
}

}  // namespace

TEST_CASE("a description holds keys, types, defaults and ranges in order", "[config]") {
  Sample sample;
  Fields fields;
  describe(fields, sample);
  std::vector<std::string> keys;
  for (const Field& field : fields.all()) {
    keys.push_back(field.key);
  }
  CHECK(keys == std::vector<std::string>{"layers", "train.tokens", "train.rate", "train.shuffle",
                                         "train.color", "data.path", "data.files",
                                         "data.shard_bytes", "data.fraction"});
  REQUIRE(fields.sections().size() == 2);
  CHECK(fields.sections()[0].first == "train");
  CHECK(fields.sections()[1].second == "What is read.");
  CHECK(find(fields, "train.tokens").default_text == "400k");
  CHECK(find(fields, "train.tokens").range == ">= 1");
  CHECK(find(fields, "train.rate").range == "[0, 1]");
  CHECK(find(fields, "train.rate").default_text == "0.001");
  CHECK(find(fields, "train.color").choices == std::vector<std::string>{"red", "green"});
  CHECK(find(fields, "data.path").required);
  CHECK_FALSE(find(fields, "data.files").required);
  CHECK(find(fields, "data.files").is_list);
  CHECK(find(fields, "data.files").default_text == "[a.jsonl]");
  CHECK(find(fields, "data.shard_bytes").default_text == "8GiB");
  CHECK(find(fields, "data.fraction").range.empty());
}

TEST_CASE("defaults stay what they were when values change", "[config]") {
  Sample sample;
  Fields fields;
  describe(fields, sample);
  find(fields, "train.tokens").set({"7"});
  CHECK(sample.tokens == 7);
  CHECK(find(fields, "train.tokens").get() == "7");
  CHECK(find(fields, "train.tokens").default_text == "400k");
}

TEST_CASE("a refused value leaves the struct alone", "[config]") {
  Sample sample;
  Fields fields;
  describe(fields, sample);
  CHECK_THROWS_AS(find(fields, "train.tokens").set({"0"}), std::invalid_argument);
  CHECK_THROWS_AS(find(fields, "train.tokens").set({"1", "2"}), std::invalid_argument);
  CHECK_THROWS_AS(find(fields, "train.color").set({}), std::invalid_argument);
  CHECK_THROWS_AS(find(fields, "layers").set({"1", "x"}), std::invalid_argument);
  CHECK(sample.tokens == 400'000);
  CHECK(sample.layers == std::vector<int64_t>{3});
}

TEST_CASE("a description with a mistake is refused", "[config]") {
  Sample sample;
  Fields fields;
  fields.section("train", "x");
  fields.count("tokens", sample.tokens, "x");
  CHECK_THROWS_WITH(fields.number("tokens", sample.rate, "x"),
                    "config key train.tokens is described twice");
  CHECK_THROWS_WITH(fields.section("train", "x"), "config section train is described twice");
  CHECK_THROWS_WITH(fields.section("a.b", "x"),
                    "config section 'a.b': expected a name without a point");
  CHECK_THROWS_WITH(fields.text("path", sample.path, "x").at_least(1),
                    "config key train.path of type text cannot have a range");
}
