#include <limits>

#include "analysis/dump_writer.h"
#include "unit/analysis/tiny_dump.h"

using namespace lorsa;
using analysis::HeadContext;
using analysis::HeadRecord;

namespace {

HeadContext context(const std::string& sample, float value) {
  HeadContext c;
  c.sample = sample;
  c.value = value;
  c.position = 1;
  c.activations = {0.0F, value};
  c.tokens = {10, 11};
  c.pattern = {{0, 0.75F}, {1, 0.25F}};
  return c;
}

/// Two shards of one head each: the first without what is optional, the second with all of it.
std::vector<HeadRecord> two_heads() {
  std::vector<HeadRecord> heads(2);
  heads[1].head = 1;
  heads[1].usage = {3, 6.0, 4.0};
  heads[1].effect.top = {{20, 1.5F}};
  heads[1].contexts = {context("top", 4.0F), context("quantile", 1.0F),
                       context("non_firing", 0.0F)};
  heads[1].contexts[1].quantile = 0.25F;
  heads[1].layer = 7;
  heads[1].family_scores = {{"sink", 0.125}, {"induction", 0.5}};
  heads[1].mhsa_overlap = {{3, 0.9}, {0, 0.0625}};
  return heads;
}

struct Written {
  std::vector<io::Json> heads;
  io::Json index;
  io::Json columns;
};

Written write(const std::vector<HeadRecord>& heads) {
  const test::TinyDump tiny;
  const lm::Tokenizer tokenizer(tiny.dir / "model");
  analysis::TokenTexts texts(tokenizer);
  const std::filesystem::path folder = tiny.dir / "written";
  analysis::DumpWriter writer(folder, texts);
  for (const HeadRecord& head : heads) {
    writer.write_shard({head});
  }
  writer.finish({{"schema", "lorsa-dump-1"}});
  std::string script = io::read_file(folder / "explorer" / "data" / "index.js");
  script = script.substr(script.find('(') + 1);
  script.resize(script.rfind(')'));
  return {test::read_heads(folder), io::read_json(folder / "index.json"),
          io::parse_json(script, "index.js")};
}

}  // namespace

TEST_CASE("optional fields stand in the records of the heads that have them", "[analysis]") {
  const Written written = write(two_heads());
  for (const char* key : {"layer", "family_scores", "mhsa_overlap"}) {
    REQUIRE(!written.heads[0].contains(key));
    REQUIRE(!written.index.at("heads")[0].contains(key));
  }
  const io::Json& head = written.heads[1];
  REQUIRE(head.at("layer") == 7);
  REQUIRE(head.at("family_scores") == io::Json({{"induction", 0.5}, {"sink", 0.125}}));
  REQUIRE(head.at("mhsa_overlap") == io::Json::array({{3, 0.9}, {0, 0.0625}}));
  REQUIRE(head.at("contexts").size() == 3);
  REQUIRE(!head.at("contexts")[0].contains("quantile"));
  REQUIRE(head.at("contexts")[1].at("sample") == "quantile");
  REQUIRE(head.at("contexts")[1].at("quantile") == 0.25);
  REQUIRE(head.at("contexts")[2].at("sample") == "non_firing");
  const io::Json& entry = written.index.at("heads")[1];
  REQUIRE(entry.at("layer") == 7);
  REQUIRE(entry.at("family_scores") == io::Json({{"induction", 0.5}, {"sink", 0.125}}));
}

TEST_CASE("columns are as long as there are heads, whoever has a value", "[analysis]") {
  std::vector<HeadRecord> heads = two_heads();
  heads.push_back(heads.front());
  heads.back().head = 2;
  const io::Json columns = write(heads).columns;
  REQUIRE(columns.at("num_heads") == 3);
  REQUIRE(columns.at("layer") == io::Json({-1, 7, -1}));
  REQUIRE(columns.at("family_scores").at("induction") == io::Json({nullptr, 0.5, nullptr}));
  REQUIRE(columns.at("family_scores").at("sink") == io::Json({nullptr, 0.125, nullptr}));
  REQUIRE(columns.at("count") == io::Json({0, 3, 0}));
  REQUIRE(columns.at("tokens") == io::Json({"t20", "t11", "t10"}));
  REQUIRE(columns.at("peak_token") == io::Json({-1, 1, -1}));
  REQUIRE(columns.at("source_token") == io::Json({-1, 2, -1}));
  io::Json top = std::vector<int>(3 * analysis::kIndexTokens, -1);
  top[analysis::kIndexTokens] = 0;
  REQUIRE(columns.at("top_tokens") == top);
}

TEST_CASE("a score that is no number ends the dump", "[analysis]") {
  std::vector<HeadRecord> heads = two_heads();
  heads[1].family_scores["sink"] = std::numeric_limits<double>::infinity();
  REQUIRE_THROWS_AS(write(heads), Error);
}
