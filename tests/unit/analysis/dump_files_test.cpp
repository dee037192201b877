#include <algorithm>
#include <fstream>
#include <limits>
#include <set>

#include "analysis/dump_folder.h"
#include "analysis/explorer_page.h"
#include "lorsa/core/error.h"
#include "unit/analysis/tiny_dump.h"

using namespace lorsa;
using Catch::Matchers::Contains;
using test::TinyDump;

namespace {

/// The argument of `call(...)` in an explorer data file.
std::string argument(const std::string& script, const std::string& call) {
  const std::string begin = call + "(";
  REQUIRE(script.rfind(begin, 0) == 0);
  const size_t end = script.rfind(");");
  REQUIRE(end != std::string::npos);
  return script.substr(begin.size(), end - begin.size());
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string file_text(std::string_view name) {
  for (const analysis::ExplorerFile& file : analysis::kExplorerFiles) {
    if (file.name == name) {
      return std::string(file.text);
    }
  }
  FAIL("the page has no " << name);
  return {};
}

std::string all_scripts() {
  std::string scripts;
  for (const analysis::ExplorerFile& file : analysis::kExplorerFiles) {
    if (file.name.ends_with(".js")) {
      scripts += file.text;
    }
  }
  return scripts;
}

std::string without(std::string text, const std::string& part) {
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part)) {
    text.erase(at, part.size());
  }
  return text;
}

void dump(const analysis::DumpOptions& options) {
  static_cast<void>(analysis::dump_heads(options));
}

}  // namespace

TEST_CASE("the explorer's data files hold the same records as the shards", "[analysis]") {
  const TinyDump tiny;
  dump(tiny.options());
  const std::filesystem::path data = tiny.dir / "dump" / "explorer" / "data";
  std::vector<io::Json> records;
  bool markup_seen = false;
  for (const char* number : {"0", "1"}) {
    const std::string script = io::read_file(data / formatted("heads-0000{}.js", number));
    std::string list = argument(script, "lorsaHeads");
    REQUIRE(list.rfind(formatted("{},[\n", number), 0) == 0);
    list = list.substr(2);
    // JavaScript allows the comma behind the last record, JSON does not.
    list.erase(list.rfind(','), 1);
    for (const io::Json& record : io::parse_json(list, "heads")) {
      records.push_back(record);
    }
    markup_seen = markup_seen || script.find("</script>") != std::string::npos;
  }
  REQUIRE(records == test::read_heads(tiny.dir / "dump"));
  REQUIRE(markup_seen);
}

TEST_CASE("the explorer's columns hold the entries of the index", "[analysis]") {
  const TinyDump tiny;
  dump(tiny.options());
  const io::Json index = io::read_json(tiny.dir / "dump" / "index.json");
  const io::Json columns = io::parse_json(
      argument(io::read_file(tiny.dir / "dump" / "explorer" / "data" / "index.js"), "lorsaIndex"),
      "index.js");
  for (const auto& [key, value] : index.items()) {
    INFO(key);
    REQUIRE((key == "heads" || columns.at(key) == value));
  }
  REQUIRE(columns.at("explorer_schema") == "lorsa-explorer-1");
  REQUIRE(columns.at("num_heads") == 140);
  REQUIRE(!columns.contains("layer"));  // all heads are of one
  REQUIRE(columns.at("family_scores").empty());

  const auto text = [&](const io::Json& place) {
    return place == -1 ? io::Json() : columns.at("tokens").at(place.get<size_t>());
  };
  const auto width = columns.at("top_tokens_per_head").get<size_t>();
  REQUIRE(columns.at("top_tokens").size() == 140 * width);
  for (size_t h = 0; h < 140; ++h) {
    const io::Json& entry = index.at("heads")[h];
    REQUIRE(columns.at("qk_head").at(h) == entry.at("qk_head"));
    REQUIRE(columns.at("count").at(h) == entry.at("count"));
    REQUIRE(columns.at("max").at(h).get<double>() ==
            Approx(entry.at("max").get<double>()).epsilon(1e-5));
    REQUIRE(text(columns.at("peak_token").at(h)) == entry.value("peak_token", io::Json()));
    REQUIRE(text(columns.at("source_token").at(h)) == entry.value("source_token", io::Json()));
    REQUIRE(entry.at("top_tokens").size() == width);
    for (size_t i = 0; i < width; ++i) {
      REQUIRE(text(columns.at("top_tokens").at(h * width + i)) == entry.at("top_tokens").at(i));
    }
  }
  // Each text once.
  const std::set<std::string> texts(columns.at("tokens").begin(), columns.at("tokens").end());
  REQUIRE(texts.size() == columns.at("tokens").size());
}

TEST_CASE("the page never makes markup of text", "[analysis]") {
  const std::string script = all_scripts();
  for (const char* sink : {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write",
                           "eval(", "fetch(", "createContextualFragment", "srcdoc"}) {
    INFO(sink);
    REQUIRE(script.find(sink) == std::string::npos);
  }
  REQUIRE(script.find("textContent") != std::string::npos);
}

TEST_CASE("the page is complete and asks for nothing outside its folder", "[analysis]") {
  const TinyDump tiny;
  dump(tiny.options());
  const std::filesystem::path explorer = tiny.dir / "dump" / "explorer";
  const auto source = test::source_dir() / "src" / "analysis" / "explorer";
  std::vector<std::string> expected = names_in(source);
  expected.erase(std::find(expected.begin(), expected.end(), "embed.cpp.in"));
  expected.insert(std::lower_bound(expected.begin(), expected.end(), "data"), "data");
  REQUIRE(names_in(explorer) == expected);
  const std::string html = file_text("index.html");
  for (const analysis::ExplorerFile& file : analysis::kExplorerFiles) {
    INFO(file.name);
    REQUIRE(!file.text.empty());
    REQUIRE(io::read_file(explorer / file.name) == io::read_file(source / file.name));
    REQUIRE((file.name == "index.html" ||
             html.find(formatted("{}{}{}", '"', file.name, '"')) != std::string::npos));
    // The name of SVG's namespace is no address that anything is loaded from.
    const std::string text = without(std::string(file.text), "http://www.w3.org/2000/svg");
    REQUIRE(text.find("http:") == std::string::npos);
    REQUIRE(text.find("https:") == std::string::npos);
  }
}

TEST_CASE("the page's tags are balanced and what the script looks for is there", "[analysis]") {
  const std::string html = file_text("index.html");
  std::vector<std::string> open;
  for (size_t at = html.find('<'); at != std::string::npos; at = html.find('<', at + 1)) {
    const bool closing = html[at + 1] == '/';
    const size_t begin = at + (closing ? 2 : 1);
    const std::string name = html.substr(begin, html.find_first_of(" >", begin) - begin);
    if (name == "!DOCTYPE" || name == "meta" || name == "link" || name == "input") {
      continue;
    }
    if (closing) {
      REQUIRE(!open.empty());
      REQUIRE(open.back() == name);
      open.pop_back();
    } else {
      open.push_back(name);
    }
  }
  REQUIRE(open.empty());
  const std::string script = all_scripts();
  size_t num_ids = 0;
  for (size_t at = script.find("byId(\""); at != std::string::npos;
       at = script.find("byId(\"", at + 1)) {
    const size_t begin = at + 6;
    const std::string id = script.substr(begin, script.find('"', begin) - begin);
    INFO(id);
    REQUIRE(html.find("id=\"" + id + "\"") != std::string::npos);
    ++num_ids;
  }
  REQUIRE(num_ids > 5);
}

TEST_CASE("an older dump is replaced and anything else is refused", "[analysis]") {
  const TinyDump tiny;
  analysis::DumpOptions options = tiny.options();
  dump(options);
  std::ofstream(tiny.dir / "dump" / "heads-00077.jsonl") << "old\n";
  options.out = (tiny.dir / "dump").string() + "/";  // the same folder
  dump(options);
  REQUIRE(!std::filesystem::exists(tiny.dir / "dump" / "heads-00077.jsonl"));
  REQUIRE(names_in(tiny.dir.path()) ==
          std::vector<std::string>{"cache", "checkpoint", "dump", "model"});

  options.out = tiny.dir / "model";
  REQUIRE_THROWS_AS(dump(options), ConfigError);
  REQUIRE_THROWS_WITH(dump(options), Contains("model") && Contains("no dump of heads"));
  REQUIRE(std::filesystem::exists(tiny.dir / "model" / "tokenizer.json"));

  std::filesystem::create_directories(tiny.dir / "fresh.tmp");
  std::ofstream(tiny.dir / "fresh.tmp" / "thesis.tex") << "text\n";
  options.out = tiny.dir / "fresh";
  REQUIRE_THROWS_AS(dump(options), ConfigError);
  REQUIRE(std::filesystem::exists(tiny.dir / "fresh.tmp" / "thesis.tex"));
}

TEST_CASE("what a killed dump left is cleared", "[analysis]") {
  const TinyDump tiny;
  std::filesystem::create_directories(tiny.dir / "dump.tmp" / "explorer" / "data");
  std::ofstream(tiny.dir / "dump.tmp" / "heads-00009.jsonl.tmp") << "half";
  dump(tiny.options());
  REQUIRE(!std::filesystem::exists(tiny.dir / "dump.tmp"));
  REQUIRE(!std::filesystem::exists(tiny.dir / "dump" / "heads-00009.jsonl.tmp"));
}

TEST_CASE("a dump refuses parts that do not belong together and names both", "[analysis]") {
  TinyDump tiny;
  SECTION("another layer") {
    tiny.layer = 2;
    tiny.write_checkpoint();
    REQUIRE_THROWS_WITH(dump(tiny.options()), Contains("site is layer 2") && Contains("layer 1"));
  }
  SECTION("another width") {
    tiny.shape.d_model = 20;
    tiny.weights = test::random_weights(tiny.shape, at::kFloat);
    tiny.write_checkpoint();
    REQUIRE_THROWS_WITH(dump(tiny.options()), Contains("d_model is 20 and 24"));
  }
  SECTION("another language model") {
    tiny.weights_sha256 = std::string(64, 'a');
    tiny.write_checkpoint();
    REQUIRE_THROWS_WITH(dump(tiny.options()),
                        Contains("aaaaaaaaaaaa") && Contains("checkpoint") && Contains("cache"));
  }
  SECTION("another model folder") {
    std::filesystem::remove(tiny.dir / "model" / "model.safetensors");
    std::filesystem::copy_file(test::golden("lm/tiny-plain/model.safetensors"),
                               tiny.dir / "model" / "model.safetensors");
    std::fstream file(tiny.dir / "model" / "model.safetensors",
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end);
    file.put('\x11');
    file.close();
    REQUIRE_THROWS_WITH(dump(tiny.options()), Contains("model folder") && Contains("cache"));
  }
  REQUIRE_THROWS_AS(dump(tiny.options()), ConfigError);
  REQUIRE(!std::filesystem::exists(tiny.dir / "dump"));
  REQUIRE(!std::filesystem::exists(tiny.dir / "dump.tmp"));
}

TEST_CASE("options out of range are named", "[analysis]") {
  const TinyDump tiny;
  analysis::DumpOptions options = tiny.options();
  options.num_contexts = 0;
  REQUIRE_THROWS_WITH(dump(options), Contains("contexts") && Contains("found 0"));
  options = tiny.options();
  options.window_tokens = -1;
  REQUIRE_THROWS_WITH(dump(options), Contains("window") && Contains("found -1"));
  options = tiny.options();
  options.max_rows = -1;
  REQUIRE_THROWS_AS(dump(options), ConfigError);
  options = tiny.options();
  options.num_quantiles = -2;
  REQUIRE_THROWS_WITH(dump(options), Contains("quantile_contexts") && Contains("found -2"));
  options = tiny.options();
  options.num_non_firing = -3;
  REQUIRE_THROWS_WITH(dump(options), Contains("non_firing_contexts") && Contains("found -3"));
}

TEST_CASE("the stated memory grows with heads and contexts", "[analysis]") {
  analysis::CollectorOptions options{1000, 16, 64, 5, 2, 0};
  const int64_t one = analysis::dump_bytes(options);
  options.num_heads = 2000;
  REQUIRE(analysis::dump_bytes(options) == 2 * one);
  for (int64_t analysis::CollectorOptions::*number :
       {&analysis::CollectorOptions::num_contexts, &analysis::CollectorOptions::num_quantiles,
        &analysis::CollectorOptions::num_non_firing}) {
    analysis::CollectorOptions more = options;
    more.num_heads = 1000;
    more.*number *= 2;
    REQUIRE(analysis::dump_bytes(more) > one);
    // Beyond what 64 bits count it stays beyond any memory.
    more.num_heads = 1'000'000;
    more.*number = std::numeric_limits<int64_t>::max();
    REQUIRE(analysis::dump_bytes(more) == int64_t{1} << 62);
  }
}
