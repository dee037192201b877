#include "lorsa/io/pending_folder.h"

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "support/test.h"
#include "support/throws.h"

namespace lorsa::io {
namespace {

TEST_CASE("a pending folder appears under its name with commit only", "[io]") {
  const test::TempDir dir;
  {
    const PendingFolder pending(dir / "a/b");
    write_file(pending.path() / "file", "half");
    REQUIRE_FALSE(std::filesystem::exists(dir / "a/b"));
  }
  REQUIRE_FALSE(std::filesystem::exists(dir / "a/b.tmp"));
  PendingFolder pending(dir / "a/b/");
  write_file(pending.path() / "file", "whole");
  pending.commit();
  REQUIRE(read_file(dir / "a/b/file") == "whole");
  REQUIRE_FALSE(std::filesystem::exists(dir / "a/b.tmp"));
}

TEST_CASE("a committed folder takes the place of what stood there", "[io]") {
  const test::TempDir dir;
  make_directories(dir / "out");
  write_file(dir / "out/old", "1");
  PendingFolder pending(dir / "out");
  write_file(pending.path() / "new", "2");
  pending.commit();
  REQUIRE(read_file(dir / "out/new") == "2");
  REQUIRE_FALSE(std::filesystem::exists(dir / "out/old"));
  REQUIRE_FALSE(std::filesystem::exists(dir / "out.old"));
}

TEST_CASE("what a kill inside a commit left aside is put back", "[io]") {
  const test::TempDir dir;
  make_directories(dir / "out.old");
  write_file(dir / "out.old/file", "1");
  restore_replaced(dir / "out/");
  REQUIRE(read_file(dir / "out/file") == "1");
  REQUIRE_FALSE(std::filesystem::exists(dir / "out.old"));
  // The commit had come as far as the new folder: that one counts.
  make_directories(dir / "out.old");
  restore_replaced(dir / "out");
  REQUIRE(read_file(dir / "out/file") == "1");
  restore_replaced(dir / "nothing");
  REQUIRE_FALSE(std::filesystem::exists(dir / "nothing"));
}

TEST_CASE("a pending folder does not take over what is in its way", "[io]") {
  const test::TempDir dir;
  make_directories(dir / "out.tmp");
  write_file(dir / "out.tmp/precious", "1");
  test::require_parts(test::message_of<IoError>([&] { const PendingFolder pending(dir / "out"); }),
                      {(dir / "out.tmp").string(), "in the way"});
  REQUIRE(read_file(dir / "out.tmp/precious") == "1");
}

}  // namespace
}  // namespace lorsa::io
