#include "lorsa/io/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <string>

#include "lorsa/core/error.h"
#include "support/file_size_limit.h"
#include "support/throws.h"

namespace lorsa::io {
namespace {

std::set<std::string> names_in(const std::filesystem::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

TEST_CASE("write_file replaces the content and read_file gives it back byte for byte", "[io]") {
  const test::TempDir folder;
  const std::string bytes("line\r\n\0\xff tail", 13);
  write_file(folder / "a", "something longer than what follows");
  write_file(folder / "a", bytes);
  REQUIRE(read_file(folder / "a") == bytes);
  write_file(folder / "empty", "");
  REQUIRE(read_file(folder / "empty").empty());
  REQUIRE(names_in(folder.path()) == std::set<std::string>{"a", "empty"});
}

TEST_CASE("read_file names a missing file and refuses a folder", "[io]") {
  const test::TempDir folder;
  test::require_parts(
      test::message_of<IoError>([&] { static_cast<void>(read_file(folder / "none")); }),
      {(folder / "none").string(), "cannot open", "No such file"});
  test::require_parts(
      test::message_of<IoError>([&] { static_cast<void>(read_file(folder.path())); }),
      {folder.path().string(), "found a folder"});
}

TEST_CASE("a write that the disk refuses leaves the old content and no temporary file", "[io]") {
  const test::TempDir folder;
  write_file(folder / "a", "old");
  {
    const test::FileSizeLimit limit(1000);
    test::require_parts(
        test::message_of<IoError>([&] { write_file(folder / "a", std::string(5000, 'x')); }),
        {(folder / "a").string(), "cannot write", "File too large"});
  }
  REQUIRE(read_file(folder / "a") == "old");
  REQUIRE(names_in(folder.path()) == std::set<std::string>{"a"});
}

TEST_CASE("write_file into a missing folder is an IoError", "[io]") {
  const test::TempDir folder;
  const auto path = folder.path() / "none" / "a";
  test::require_parts(test::message_of<IoError>([&] { write_file(path, "x"); }),
                      {path.string(), "No such file"});
}

TEST_CASE("a pending file appears with commit only", "[io]") {
  const test::TempDir folder;
  {
    const PendingFile dropped(folder / "dropped");
    std::ofstream(dropped.temporary_path()) << "half";
    REQUIRE(names_in(folder.path()) == std::set<std::string>{"dropped.tmp"});
  }
  REQUIRE(names_in(folder.path()).empty());
  PendingFile kept(folder / "kept");
  std::ofstream(kept.temporary_path()) << "whole";
  kept.commit();
  REQUIRE(names_in(folder.path()) == std::set<std::string>{"kept"});
  REQUIRE(read_file(folder / "kept") == "whole");
  REQUIRE_THROWS_AS(kept.commit(), IoError);
}

TEST_CASE("a pending file that was never written cannot be committed", "[io]") {
  const test::TempDir folder;
  PendingFile pending(folder / "a");
  test::require_parts(test::message_of<IoError>([&] { pending.commit(); }),
                      {(folder / "a.tmp").string(), "No such file"});
  REQUIRE(names_in(folder.path()).empty());
}

TEST_CASE("make_directories makes parents, accepts what is there, names a file in the way",
          "[io]") {
  const test::TempDir folder;
  const auto deep = folder.path() / "a" / "b" / "c";
  make_directories(deep);
  make_directories(deep);
  REQUIRE(std::filesystem::is_directory(deep));
  std::filesystem::create_directory_symlink(deep, folder / "link");
  make_directories(folder / "link");
  write_file(folder / "file", "x");
  test::require_parts(
      test::message_of<IoError>([&] { make_directories(folder.path() / "file" / "d"); }),
      {(folder.path() / "file" / "d").string(), "cannot make the folder"});
  REQUIRE_THROWS_AS(make_directories(folder / "file"), IoError);
}

TEST_CASE("rename_durably moves folders and names both paths where it cannot", "[io]") {
  const test::TempDir folder;
  make_directories(folder / "from");
  write_file(folder.path() / "from" / "x", "1");
  rename_durably(folder / "from", folder / "to");
  REQUIRE(read_file(folder.path() / "to" / "x") == "1");
  test::require_parts(
      test::message_of<IoError>([&] { rename_durably(folder / "from", folder / "to"); }),
      {(folder / "from").string(), (folder / "to").string(), "No such file"});
}

TEST_CASE("free_bytes looks at the nearest parent that exists", "[io]") {
  const test::TempDir folder;
  const int64_t here = free_bytes(folder.path());
  REQUIRE(here > 0);
  REQUIRE(free_bytes(folder.path() / "not" / "yet") > 0);
}

TEST_CASE("read_text passes a byte order mark over and names what is not UTF-8", "[io]") {
  const test::TempDir folder;
  write_file(folder / "a", "\xef\xbb\xbfline\r\n");
  REQUIRE(read_text(folder / "a") == "line\r\n");
  write_file(folder / "b", "one\ncaf\xe9");
  test::require_parts(
      test::message_of<FormatError>([&] { static_cast<void>(read_text(folder / "b")); }),
      {(folder / "b").string() + ":2: expected UTF-8"});
}

TEST_CASE("write_file writes into a device or pipe and leaves it what it is", "[io]") {
  const test::TempDir folder;
  const auto pipe = folder / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  REQUIRE(reader >= 0);
  write_file(pipe, "text");
  char text[8] = {};
  REQUIRE(::read(reader, text, sizeof(text)) == 4);
  ::close(reader);
  REQUIRE(std::string(text) == "text");
  REQUIRE(std::filesystem::is_fifo(pipe));
  REQUIRE(names_in(folder.path()) == std::set<std::string>{"pipe"});
  write_file("/dev/null", "text");
  REQUIRE(std::filesystem::is_character_file("/dev/null"));
  test::require_parts(test::message_of<IoError>([&] { write_file("/dev/full", "text"); }),
                      {"/dev/full", "No space left"});
}

TEST_CASE("check_can_write knows before what write_file would end in", "[io]") {
  const test::TempDir folder;
  check_can_write(folder / "new");
  write_file(folder / "old", "x");
  check_can_write(folder / "old");
  check_can_write("/dev/null");
  REQUIRE(names_in(folder.path()) == std::set<std::string>{"old"});
  const auto refusal = [](const std::filesystem::path& path) {
    return test::message_of<IoError>([&] { check_can_write(path); });
  };
  test::require_parts(refusal(folder / "none/a"), {(folder / "none").string(), "No such file"});
  test::require_parts(refusal(folder / "old/a"), {(folder / "old").string(), "it is no folder"});
  test::require_parts(refusal(folder.path()), {folder.path().string(), "a folder of that name"});
  // /dev/stdout of a redirected command is such a link, into /proc.
  const int file = ::open((folder / "old").c_str(), O_RDONLY);
  REQUIRE(file >= 0);
  test::require_parts(refusal("/proc/self/fd/" + std::to_string(file)), {"stands for a file"});
  ::close(file);
}

}  // namespace
}  // namespace lorsa::io
