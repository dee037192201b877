#include "lorsa/core/error.h"

#include <c10/util/Exception.h>

#include <filesystem>
#include <new>

#include "lorsa/core/version.h"
#include "support/test.h"

using lorsa::exit_code_for;
using lorsa::ExitCode;

namespace {

int code(const std::exception& error) {
  return static_cast<int>(exit_code_for(error));
}

}  // namespace

TEST_CASE("exit codes are the documented numbers", "[core]") {
  CHECK(static_cast<int>(ExitCode::kDone) == 0);
  CHECK(code(lorsa::Error("x")) == 1);
  CHECK(code(std::runtime_error("x")) == 1);
  CHECK(code(std::bad_alloc()) == 5);
  CHECK(code(lorsa::ConfigError("x")) == 2);
  CHECK(code(lorsa::FormatError("x")) == 3);
  CHECK(code(lorsa::ShapeError("x")) == 3);
  CHECK(code(lorsa::IoError("x")) == 4);
  CHECK(code(std::filesystem::filesystem_error("x", std::error_code())) == 4);
  CHECK(code(lorsa::DeviceError("x")) == 5);
  CHECK(code(lorsa::Interrupted("x")) == 75);
}

TEST_CASE("LibTorch's device failures exit like the project's own", "[core]") {
  const c10::SourceLocation here{__func__, __FILE__, __LINE__};
  CHECK(code(c10::OutOfMemoryError(here, "x")) == 5);
  CHECK(code(c10::AcceleratorError(here, 700, "x")) == 5);
  CHECK(code(c10::DistNetworkError(here, "x")) == 5);
  CHECK(code(c10::IndexError(here, "x")) == 1);
  // What at::empty() throws where memory does not suffice.
  CHECK(code(c10::Error(here, "DefaultCPUAllocator: can't allocate memory: you tried to")) == 5);
}

TEST_CASE("LORSA_CHECK throws the named kind with the joined message", "[core]") {
  const int found = 3;
  CHECK_NOTHROW([&] { LORSA_CHECK(found == 3, FormatError, "unused"); }());
  CHECK_THROWS_MATCHES(
      [&] { LORSA_CHECK(found == 4, FormatError, "expected 4, found {}", found); }(),
      lorsa::FormatError, Catch::Matchers::Message("expected 4, found 3"));
}

TEST_CASE("formatted puts strings, numbers and paths in the places of {}", "[core]") {
  CHECK(lorsa::formatted("a{}{}{}{}", 1, ':', 2.5, std::string("b")) == "a1:2.5b");
  CHECK(lorsa::formatted("{}", std::filesystem::path("a b")) == "a b");
  CHECK(lorsa::formatted("{{\"{}\": {{}}}}, {}.", "a{}", "}") == "{\"a{}\": {}}, }.");
  CHECK(lorsa::formatted("no value").size() == 8);
}

TEST_CASE("a message's places are counted, and single braces are none", "[core]") {
  STATIC_REQUIRE(lorsa::num_placeholders("") == 0);
  STATIC_REQUIRE(lorsa::num_placeholders("{}") == 1);
  STATIC_REQUIRE(lorsa::num_placeholders("a {} b {}{}") == 3);
  STATIC_REQUIRE(lorsa::num_placeholders("{{}}") == 0);
  STATIC_REQUIRE(lorsa::num_placeholders("{{{}}}") == 1);
  for (const char* wrong : {"{", "}", "{0}", "a } b", "{ }", "{{}"}) {
    CHECK(lorsa::num_placeholders(wrong) > 100);
  }
}

TEST_CASE("the version has three numbers and the revision is known or says so", "[core]") {
  CHECK_THAT(lorsa::version(), Catch::Matchers::Matches("[0-9]+\\.[0-9]+\\.[0-9]+"));
  CHECK_THAT(lorsa::git_revision(), Catch::Matchers::Matches("[0-9a-f]{12,}|unknown"));
}
