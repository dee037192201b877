#include "lorsa/eval/eval_page.h"

#include <string>

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "support/throws.h"

using namespace lorsa;
using eval::write_eval_page;

namespace {

io::Json report(const std::string& checkpoint) {
  return {{"schema", "lorsa-eval-1"}, {"checkpoint", checkpoint}, {"fvu", 0.25}};
}

// The data in a page, as its script sees them.
io::Json data_of(const std::string& page) {
  const std::string begin = "<script type=\"application/json\" id=\"data\">";
  const size_t at = page.find(begin) + begin.size();
  return io::parse_json(page.substr(at, page.find("</script>", at) - at), "page");
}

}  // namespace

TEST_CASE("an evaluation's page holds its reports and needs no other file", "[eval]") {
  const test::TempDir folder;
  write_eval_page(io::Json::array({report("a"), report("b")}), folder / "page.html");
  const std::string page = io::read_file(folder / "page.html");
  CHECK(data_of(page)["reports"] == io::Json::array({report("a"), report("b")}));
  for (const char* outside : {"https:", "src=", "url(", "fetch(", "import ", "{{"}) {
    INFO(outside);
    CHECK(page.find(outside) == std::string::npos);
  }
  CHECK(page.find("default-src 'none'") != std::string::npos);
  CHECK(page.find("prefers-color-scheme: dark") != std::string::npos);
  write_eval_page(report("alone"), folder / "page.html");
  CHECK(data_of(io::read_file(folder / "page.html"))["reports"][0]["checkpoint"] == "alone");
}

TEST_CASE("texts of a report are neither markup nor broken UTF-8 in its page", "[eval]") {
  const test::TempDir folder;
  io::Json evil = report("</script><script>alert(1)</script>\xff");
  evil["families"] = {{"probes", {{{"family", "<img src=x>"}, {"num_heads", 1}}}}};
  write_eval_page(evil, folder / "page.html");
  const std::string page = io::read_file(folder / "page.html");
  CHECK(page.find("<script>alert") == std::string::npos);
  CHECK(page.find("<img") == std::string::npos);
  const io::Json data = data_of(page);
  CHECK(data["reports"][0]["checkpoint"] == "</script><script>alert(1)</script>\xef\xbf\xbd");
  CHECK(data["reports"][0]["families"]["probes"][0]["family"] == "<img src=x>");
}

TEST_CASE("a page of something else than reports is refused and leaves the old one", "[eval]") {
  const test::TempDir folder;
  const auto out = folder / "page.html";
  io::write_file(out, "old");
  test::require_parts(
      test::message_of<ConfigError>([&] { write_eval_page(report("a"), folder / "page.json"); }),
      {"page.json", ".html"});
  test::require_parts(
      test::message_of<FormatError>([&] { write_eval_page(io::Json::array(), out); }),
      {"expected one, found none"});
  io::Json other = report("a");
  other["schema"] = "lorsa-dump-1";
  test::require_parts(test::message_of<FormatError>([&] { write_eval_page(other, out); }),
                      {"lorsa-eval-", "found lorsa-dump-1"});
  test::require_parts(test::message_of<FormatError>([&] {
                        write_eval_page({{"fvu", 1}}, out);
                      }),
                      {"schema"});
  CHECK(io::read_file(out) == "old");
}
