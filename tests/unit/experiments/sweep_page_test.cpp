#include "lorsa/experiments/sweep_page.h"

#include <string>
#include <vector>

#include "lorsa/core/error.h"
#include "lorsa/experiments/power_law.h"
#include "lorsa/io/files.h"
#include "support/throws.h"

using namespace lorsa;
using experiments::write_sweep_page;

namespace {

io::Json run(const std::string& name, const std::string& kind, int seed, double fvu) {
  return {{"name", name},
          {"settings", {{"model.kind", kind}, {"run.seed", seed}}},
          {"metrics", {{"fvu", fvu}, {"l0", nullptr}}}};
}

io::Json rules() {
  return {{"mean_f1", 0.5},
          {"mean_mhsa_f1", 0.25},
          {"num_above", 0},
          {"source_share", nullptr},
          {"rules",
           {{{"rule", "induction"},
             {"num_positions", 40},
             {"unit", 3},
             {"threshold", 0.1},
             {"f1", 0.5},
             {"num_firings", 30},
             {"source_share", nullptr},
             {"mhsa_head", 1},
             {"mhsa_f1", 0.25}}}}};
}

io::Json stability() {
  return {{"first", "a"},
          {"second", "b"},
          {"num_tokens", 100},
          {"num_heads_first", 4},
          {"num_heads_second", 5},
          {"threshold", 0.7},
          {"share_first", 0.5},
          {"share_second", 0.4},
          {"share_one_to_one", 0.4},
          {"share_direction", 0.6},
          {"share_firing", 0.7},
          {"mean_match", 0.65},
          {"histogram", std::vector<int>(20, 1)}};
}

io::Json errors() {
  return {{"checkpoint", "a"},
          {"reference", "b"},
          {"num_tokens", 100},
          {"fvu", 0.3},
          {"reference_fvu", 0.1},
          {"vector_from_reference", 0.2},
          {"vector_from_input", 0.3},
          {"vector_from_target", 0.1},
          {"norm_from", {{"position", -0.01}, {"all", 0.4}}},
          {"by_target_norm",
           {{{"target_norm", 1.0}, {"error_norm", 0.5}, {"reference_error_norm", 0.25}}}},
          {"log_slope", 1.0},
          {"log_correlation", 0.9},
          {"variance_share", {0.75, 0.25}},
          {"unexplained", {0.1, 0.2}},
          {"reference_unexplained", {0.05, 0.1}}};
}

io::Json results() {
  const std::vector<double> x{1, 2, 4, 8, 16};
  const std::vector<double> y{1.1, 0.7, 0.5, 0.35, 0.25};
  io::Json points = io::Json::array();
  for (size_t i = 0; i < x.size(); ++i) {
    points.push_back({x[i], y[i]});
  }
  io::Json dictionary = run("a", "lorsa", 0, 0.25);
  dictionary["rules"] = rules();
  return {{"schema", 1},
          {"title", "Widths"},
          {"question", "How wide?"},
          {"axes", {{{"keys", {"model.kind"}}, {"values", {{"lorsa"}, {"sae"}}}}}},
          {"runs", {dictionary, run("b", "sae", 0, 0.5)}},
          {"page",
           {{"columns", {"fvu"}},
            {"curves", {"fvu against model.d_qk by model.kind"}},
            {"heat_maps", {"fvu against model.d_qk and model.top_k"}},
            {"fits", {"fvu against tokens"}}}},
          {"fits",
           {{{"plot", "fvu against tokens"},
             {"x", "tokens"},
             {"y", "fvu"},
             {"series", io::Json::object()},
             {"points", points},
             {"law", to_json(experiments::fit_power_law(x, y))}}}},
          {"stability", {stability()}},
          {"errors", {errors()}}};
}

// The data in a page, as its script sees them.
io::Json data_of(const std::string& page) {
  const std::string begin = "<script type=\"application/json\" id=\"data\">";
  const size_t at = page.find(begin) + begin.size();
  return io::parse_json(page.substr(at, page.find("</script>", at) - at), "page");
}

std::string reason(const io::Json& wrong) {
  const test::TempDir folder;
  const auto out = folder / "page.html";
  io::write_file(out, "old");
  const std::string message = test::message_of<FormatError>([&] { write_sweep_page(wrong, out); });
  CHECK(io::read_file(out) == "old");
  return message;
}

}  // namespace

TEST_CASE("a sweep's page holds its results and needs no other file", "[experiments]") {
  const test::TempDir folder;
  write_sweep_page(results(), folder / "page.html");
  const std::string page = io::read_file(folder / "page.html");
  CHECK(data_of(page) == results());
  for (const char* outside : {"https:", "src=", "url(", "fetch(", "import ", "{{"}) {
    INFO(outside);
    CHECK(page.find(outside) == std::string::npos);
  }
  CHECK(page.find("default-src 'none'") != std::string::npos);
  CHECK(page.find("prefers-color-scheme: dark") != std::string::npos);
  test::require_parts(
      test::message_of<ConfigError>([&] { write_sweep_page(results(), folder / "page.json"); }),
      {"page.json", ".html"});
}

TEST_CASE("texts of results are neither markup nor broken UTF-8 in the page", "[experiments]") {
  const test::TempDir folder;
  io::Json evil = results();
  evil["question"] = "</script><script>alert(1)</script>\xff";
  evil["runs"][0]["name"] = "<img src=x>";
  evil["runs"][0]["rules"]["rules"][0]["rule"] = "<b>rule</b>";
  write_sweep_page(evil, folder / "page.html");
  const std::string page = io::read_file(folder / "page.html");
  for (const char* markup : {"<script>alert", "<img", "<b>"}) {
    INFO(markup);
    CHECK(page.find(markup) == std::string::npos);
  }
  const io::Json data = data_of(page);
  CHECK(data["question"] == "</script><script>alert(1)</script>\xef\xbf\xbd");
  CHECK(data["runs"][0]["name"] == "<img src=x>");
}

TEST_CASE("a member that results lack is named, and the old page stays", "[experiments]") {
  const io::Json whole = results();
  for (const auto& [key, value] : whole.items()) {
    io::Json wrong = whole;
    wrong.erase(key);
    test::require_parts(reason(wrong), {"results", key});
  }

  struct Member {
    const char* parent;  // JSON pointer
    const char* key;
    const char* where;
  };

  for (const Member& member :
       {Member{"/runs/1", "name", "runs[1]"}, Member{"/runs/0", "metrics", "runs[0]"},
        Member{"/runs/0/rules", "num_above", "runs[0]: rules"},
        Member{"/runs/0/rules/rules/0", "mhsa_f1", "rules[0]"},
        Member{"/page", "heat_maps", "page"}, Member{"/fits/0", "law", "fits[0]"},
        Member{"/fits/0/law", "floor_interval", "fits[0]: law"},
        Member{"/stability/0", "histogram", "stability[0]"},
        Member{"/errors/0", "unexplained", "errors[0]"},
        Member{"/errors/0/by_target_norm/0", "error_norm", "by_target_norm[0]"}}) {
    io::Json wrong = whole;
    wrong[io::Json::json_pointer(member.parent)].erase(member.key);
    test::require_parts(reason(wrong), {member.where, member.key});
  }
}

TEST_CASE("results of another schema or with plots that do not read are refused", "[experiments]") {
  io::Json wrong = results();
  wrong["schema"] = 2;
  test::require_parts(reason(wrong), {"schema", "expected 1", "not 2"});
  wrong = results();
  wrong["page"]["curves"][0] = "fvu over tokens";
  test::require_parts(reason(wrong), {"curves[0]", "Y against X", "fvu over tokens"});
  wrong = results();
  wrong["page"]["heat_maps"][0] = "fvu against tokens";
  test::require_parts(reason(wrong), {"heat_maps[0]", "Y against X1 and X2", "fvu against tokens"});
  wrong = results();
  wrong["runs"] = 3;
  test::require_parts(reason(wrong), {"runs", "expected a list"});
  wrong = results();
  wrong["runs"][0]["settings"] = nullptr;
  test::require_parts(reason(wrong), {"runs[0]", "settings"});
}

TEST_CASE("a fit without a law and a sweep without measurements have a page", "[experiments]") {
  const test::TempDir folder;
  io::Json some = results();
  some["fits"][0].erase("law");
  some["fits"][0]["error"] = "y does not fall";
  some["stability"] = some["errors"] = some["axes"] = io::Json::array();
  some["runs"][0].erase("rules");
  write_sweep_page(some, folder / "page.html");
  CHECK(data_of(io::read_file(folder / "page.html")) == some);
}
