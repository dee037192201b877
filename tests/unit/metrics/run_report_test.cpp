#include "lorsa/metrics/run_report.h"

#include <string>

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "support/throws.h"

namespace lorsa::metrics {
namespace {

namespace fs = std::filesystem;

fs::path make_run(const fs::path& folder, const std::string& lines, const std::string& config) {
  io::make_directories(folder);
  io::write_file(folder / "metrics.jsonl", lines);
  if (!config.empty()) {
    io::write_file(folder / "config.yaml", config);
  }
  return folder;
}

const char* const kLines =
    "{\"tokens\": 64, \"loss\": 0.5, \"data_wait_s\": 1, \"model_s\": 2, \"communication_s\": 0, "
    "\"optimizer_s\": 1}\n"
    "{\"tokens\": 128, \"loss\": 0.25, \"data_wait_s\": 0, \"model_s\": 3, \"communication_s\": 0, "
    "\"optimizer_s\": 1}\n";

/// The data in a page, as its script sees them.
io::Json data_of(const std::string& page) {
  const std::string begin = "<script type=\"application/json\" id=\"data\">";
  const size_t at = page.find(begin) + begin.size();
  return io::parse_json(page.substr(at, page.find("</script>", at) - at), "page");
}

TEST_CASE("a report holds curves, last numbers and settings of every run", "[metrics]") {
  const test::TempDir folder;
  const std::vector<fs::path> runs{
      make_run(folder / "a", kLines, "train: {tokens: 128, seed: 1}\n"),
      make_run(folder / "b", "{\"tokens\": 64, \"loss\": null, \"extra\": 7}\n",
               "train: {seed: 2}\n")};
  write_run_report(runs, folder / "report.html");
  const io::Json data = data_of(io::read_file(folder / "report.html"));

  const io::Json& a = data["runs"][0];
  REQUIRE(a["name"] == "a");
  REQUIRE(a["lines"] == 2);
  REQUIRE(a["tokens"] == 128);
  REQUIRE(a["last"]["loss"] == 0.25);
  REQUIRE(a["last"]["model_s"] == 3.0);
  REQUIRE(a["curves"] == io::Json::parse(R"({"loss": {"x": [64, 128], "y": [0.5, 0.25]}})"));
  REQUIRE(a["split"] == io::Json::parse(R"({"x": [64, 128], "parts":
      {"data_wait_s": [0.25, 0.0], "model_s": [0.5, 0.75], "communication_s": [0.0, 0.0], "optimizer_s": [0.25, 0.25]}})"));
  const io::Json& b = data["runs"][1];
  REQUIRE(b["curves"] == io::Json::parse(R"({"loss": {"x": [64], "y": [null]},
                                             "extra": {"x": [64], "y": [7.0]}})"));
  REQUIRE(!b.contains("split"));
  REQUIRE(data["settings"] ==
          io::Json::parse(R"({"train.tokens": ["128", null], "train.seed": ["1", "2"]})"));
}

TEST_CASE("a report needs no other file and no network", "[metrics]") {
  const test::TempDir folder;
  write_run_report({make_run(folder / "a", kLines, "")}, folder / "report.html");
  const std::string page = io::read_file(folder / "report.html");
  for (const char* outside : {"https:", "src=", "url(", "fetch(", "import ", "{{"}) {
    INFO(outside);
    REQUIRE(page.find(outside) == std::string::npos);
  }
  REQUIRE(page.find("default-src 'none'") != std::string::npos);
  REQUIRE(page.find("prefers-color-scheme: dark") != std::string::npos);
}

TEST_CASE("nothing from a file is markup in a report", "[metrics]") {
  const test::TempDir folder;
  const std::string evil = "<b>x<!--&\"'";
  const std::string lines =
      "{\"tokens\": 1, \"</script><script>alert(1)\": 2, \"{{script}}\": 3}\n";
  write_run_report({make_run(folder / evil, lines, "\"<i>key\": \"</script>\"\n")},
                   folder / "report.html");
  const std::string page = io::read_file(folder / "report.html");
  for (const char* markup : {"<b>x", "<i>key", "<script>alert", "<!--&"}) {
    INFO(markup);
    REQUIRE(page.find(markup) == std::string::npos);
  }
  const io::Json data = data_of(page);
  REQUIRE(data["runs"][0]["name"] == evil);
  REQUIRE(data["runs"][0]["last"]["</script><script>alert(1)"] == 2.0);
  REQUIRE(data["runs"][0]["last"]["{{script}}"] == 3.0);
  REQUIRE(data["settings"]["<i>key"][0] == "</script>");
}

TEST_CASE("bytes of a name that are not UTF-8 do not break a report", "[metrics]") {
  const test::TempDir folder;
  write_run_report({make_run(folder / "a\xff", kLines, "")}, folder / "report.html");
  REQUIRE(data_of(io::read_file(folder / "report.html"))["runs"][0]["name"] == "a\xef\xbf\xbd");
}

TEST_CASE("a long run is thinned with its peaks kept", "[metrics]") {
  const test::TempDir folder;
  std::string lines;
  for (int i = 1; i <= 20'000; ++i) {
    lines += "{\"tokens\": " + std::to_string(i) + ", \"loss\": " + (i == 7'777 ? "9" : "1") +
             ", \"data_wait_s\": " + (i == 5'432 ? "4" : "1") +
             ", \"model_s\": 2, \"communication_s\": 0, \"optimizer_s\": 1}\n";
  }
  write_run_report({make_run(folder / "a", lines, "")}, folder / "report.html");
  const std::string page = io::read_file(folder / "report.html");
  REQUIRE(page.size() < 200'000);
  const io::Json run = data_of(page)["runs"][0];
  REQUIRE(run["lines"] == 20'000);
  const io::Json& loss = run["curves"]["loss"];
  REQUIRE(loss["x"].size() == loss["y"].size());
  REQUIRE(loss["x"].size() <= 1500);
  REQUIRE(loss["x"].back() == 20'000);
  REQUIRE(std::find(loss["y"].begin(), loss["y"].end(), io::Json(9.0)) != loss["y"].end());
  const io::Json& split = run["split"];
  REQUIRE(split["x"].size() == split["parts"]["model_s"].size());
  REQUIRE(std::find(split["x"].begin(), split["x"].end(), io::Json(5'432)) != split["x"].end());
}

TEST_CASE("runs are called by their folders, or by their paths where those are equal",
          "[metrics]") {
  const test::TempDir folder;
  const std::vector<fs::path> runs{make_run(folder / "x" / "run", kLines, ""),
                                   make_run(folder / "y" / "run", kLines, ""),
                                   make_run(folder / "z" / "other", kLines, "") / ""};
  write_run_report(runs, folder / "report.html");
  const io::Json data = data_of(io::read_file(folder / "report.html"));
  REQUIRE(data["runs"][0]["name"] == runs[0].string());
  REQUIRE(data["runs"][1]["name"] == runs[1].string());
  REQUIRE(data["runs"][2]["name"] == "other");
}

TEST_CASE("a report that cannot be made is refused and leaves the old one", "[metrics]") {
  const test::TempDir folder;
  const fs::path out = folder / "report.html";
  io::write_file(out, "old");
  const fs::path run = make_run(folder / "a", kLines, "");
  const fs::path bare = folder / "bare";
  io::make_directories(bare);
  const fs::path damaged = make_run(folder / "damaged", "{\"tokens\": 1,}\n", "");

  test::require_parts(test::message_of<ConfigError>([&] { write_run_report({}, out); }),
                      {"at least one run"});
  test::require_parts(
      test::message_of<ConfigError>([&] { write_run_report({run}, run / "metrics.jsonl"); }),
      {"metrics.jsonl", ".html"});
  test::require_parts(test::message_of<ConfigError>([&] {
                        write_run_report({run, bare / ".." / "a"}, out);
                      }),
                      {"the same run folder"});
  test::require_parts(test::message_of<IoError>([&] {
                        write_run_report({run, folder / "nowhere"}, out);
                      }),
                      {"nowhere", "expected a run folder"});
  test::require_parts(test::message_of<IoError>([&] { write_run_report({out}, out); }),
                      {"report.html", "expected a run folder"});
  test::require_parts(test::message_of<FormatError>([&] { write_run_report({bare}, out); }),
                      {"bare", "no metrics.jsonl"});
  test::require_parts(test::message_of<FormatError>([&] {
                        write_run_report({run, damaged}, out);
                      }),
                      {"damaged/metrics.jsonl:1: byte "});
  REQUIRE(io::read_file(out) == "old");
  REQUIRE_THROWS_AS(write_run_report({run}, folder / "nowhere" / "report.html"), IoError);
}

}  // namespace
}  // namespace lorsa::metrics
