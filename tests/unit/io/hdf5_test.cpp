#include "io/hdf5.h"

#include <fcntl.h>

#include <cstring>
#include <string>
#include <vector>

#include "io/file_descriptor.h"
#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "support/file_size_limit.h"
#include "support/throws.h"

namespace lorsa::io {
namespace {

std::vector<Hdf5Dataset> datasets() {
  return {{"small", Hdf5Type::kInt64, {3}},    {"bytes", Hdf5Type::kUInt8, {5, 2}},
          {"sums", Hdf5Type::kUInt64, {2, 2}}, {"half", Hdf5Type::kBFloat16, {4, 8, 128}},
          {"ids", Hdf5Type::kInt32, {7}},      {"single", Hdf5Type::kFloat32, {2, 1024}}};
}

std::string hdf5_refusal(const std::filesystem::path& path, std::vector<Hdf5Dataset> expected) {
  const std::string message = test::message_of<FormatError>(
      [&] { static_cast<void>(locate_hdf5_datasets(path, std::move(expected), "complete")); });
  test::require_parts(message, {path.string()});
  return message;
}

TEST_CASE("datasets are allocated apart, large ones on pages, inside the file", "[io]") {
  const test::TempDir folder;
  const Hdf5Layout layout = create_hdf5_file(folder / "a.h5", datasets(), "complete");
  const auto& made = layout.datasets;
  set_hdf5_mark(folder / "a.h5", layout);
  const auto found = locate_hdf5_datasets(folder / "a.h5", datasets(), "complete");
  const uint64_t file_bytes = std::filesystem::file_size(folder / "a.h5");
  for (size_t i = 0; i < made.size(); ++i) {
    INFO(made[i].name);
    REQUIRE(found[i].offset == made[i].offset);
    REQUIRE(made[i].offset + made[i].bytes() <= file_bytes);
    REQUIRE((made[i].bytes() < 4096 || made[i].offset % 4096 == 0));
    for (size_t j = 0; j < i; ++j) {
      REQUIRE((made[i].offset >= made[j].offset + made[j].bytes() ||
               made[j].offset >= made[i].offset + made[i].bytes()));
    }
  }
}

TEST_CASE("a file made by h5py with bfloat16 and contiguous layout is located", "[io]") {
  const std::filesystem::path path = test::golden("cache_v1/shard-00000.h5");
  const auto found =
      locate_hdf5_datasets(path, {{"input", Hdf5Type::kBFloat16, {2, 4, 6}}}, "complete");
  const FileDescriptor file(path, O_RDONLY);
  uint16_t first = 0;
  pread_exact(file, &first, sizeof(first), found[0].offset, path, "input");
  REQUIRE(first != 0);
}

TEST_CASE("the same arguments give the same bytes", "[io]") {
  const test::TempDir folder;
  for (const char* name : {"a.h5", "b.h5"}) {
    set_hdf5_mark(folder / name, create_hdf5_file(folder / name, datasets(), "complete"));
  }
  REQUIRE(read_file(folder / "a.h5") == read_file(folder / "b.h5"));
}

TEST_CASE("bytes written at the offsets survive the mark", "[io]") {
  const test::TempDir folder;
  const auto path = folder / "a.h5";
  const Hdf5Layout layout = create_hdf5_file(path, datasets(), "complete");
  const auto& made = layout.datasets;
  const std::string pattern(made[3].bytes(), 'p');
  {
    const FileDescriptor file(path, O_RDWR);
    pwrite_all(file, pattern.data(), pattern.size(), made[3].offset, path);
  }
  set_hdf5_mark(path, layout);
  std::string back(pattern.size(), '\0');
  const FileDescriptor file(path, O_RDONLY);
  pread_exact(file, back.data(), back.size(), made[3].offset, path, "half");
  REQUIRE(back == pattern);
}

TEST_CASE("a file without the mark set is refused", "[io]") {
  const test::TempDir folder;
  static_cast<void>(create_hdf5_file(folder / "a.h5", datasets(), "complete"));
  test::require_parts(hdf5_refusal(folder / "a.h5", datasets()),
                      {"attribute complete: expected 1, found 0", "not finished"});
  test::require_parts(hdf5_refusal(test::golden("io/foreign.h5"), datasets()),
                      {"attribute complete", "found none"});
}

TEST_CASE("missing datasets, other types, shapes and layouts are refused by name", "[io]") {
  const test::TempDir folder;
  const auto path = folder / "a.h5";
  set_hdf5_mark(path, create_hdf5_file(path, datasets(), "complete"));
  test::require_parts(hdf5_refusal(path, {{"none", Hdf5Type::kInt32, {7}}}),
                      {": /none: expected a dataset of int32 [7], found nothing"});
  test::require_parts(hdf5_refusal(path, {{"half", Hdf5Type::kFloat32, {4, 8, 128}}}),
                      {": /half: expected float32, found a float of 16 bits"});
  test::require_parts(hdf5_refusal(path, {{"ids", Hdf5Type::kUInt64, {7}}}),
                      {": /ids: expected uint64, found int32"});
  test::require_parts(hdf5_refusal(path, {{"ids", Hdf5Type::kInt32, {8}}}),
                      {": /ids: expected shape [8], found [7]"});
  test::require_parts(hdf5_refusal(path, {{"ids", Hdf5Type::kInt32, {7, 1}}}), {"[7, 1]"});

  const auto foreign = test::golden("io/foreign_marked.h5");
  test::require_parts(hdf5_refusal(foreign, {{"chunked", Hdf5Type::kFloat32, {8}}}),
                      {": /chunked: expected contiguous layout"});
  test::require_parts(hdf5_refusal(foreign, {{"ieee_half", Hdf5Type::kBFloat16, {8}}}),
                      {": /ieee_half: expected bfloat16, found a float of 16 bits"});
  test::require_parts(hdf5_refusal(foreign, {{"big_endian", Hdf5Type::kInt32, {8}}}),
                      {": /big_endian: expected int32, found int32 big-endian"});
  test::require_parts(hdf5_refusal(foreign, {{"text", Hdf5Type::kInt32, {8}}}), {"no number"});
  test::require_parts(hdf5_refusal(foreign, {{"group", Hdf5Type::kInt32, {8}}}), {"/group"});
}

TEST_CASE("cut files and files of another kind are refused with HDF5's reason", "[io]") {
  const test::TempDir folder;
  const auto path = folder / "a.h5";
  set_hdf5_mark(path, create_hdf5_file(path, datasets(), "complete"));
  const std::string good = read_file(path);
  write_file(folder / "cut.h5", good.substr(0, good.size() - 1));
  test::require_parts(hdf5_refusal(folder / "cut.h5", datasets()),
                      {"H5Fopen failed", "truncated file"});
  write_file(folder / "head.h5", good.substr(0, 40));
  REQUIRE_FALSE(hdf5_refusal(folder / "head.h5", datasets()).empty());
  write_file(folder / "text.h5", "this is no HDF5 file at all, only some text");
  test::require_parts(hdf5_refusal(folder / "text.h5", datasets()),
                      {"expected an HDF5 file", "text of 43 bytes"});
  write_file(folder / "empty.h5", "");
  REQUIRE_FALSE(hdf5_refusal(folder / "empty.h5", datasets()).empty());
  test::require_parts(
      test::message_of<IoError>([&] {
        static_cast<void>(locate_hdf5_datasets(folder / "none.h5", datasets(), "complete"));
      }),
      {(folder / "none.h5").string(), "No such file"});
}

TEST_CASE("a file that the disk has no room for is an IoError", "[io]") {
  const test::TempDir folder;
  test::require_parts(test::message_of<IoError>([&] {
                        static_cast<void>(create_hdf5_file(folder.path() / "none" / "a.h5",
                                                           datasets(), "complete"));
                      }),
                      {(folder.path() / "none" / "a.h5").string(), "cannot open"});
  {
    const test::FileSizeLimit limit(16384);
    test::require_parts(
        test::message_of<IoError>([&] {
          static_cast<void>(create_hdf5_file(
              folder / "big.h5", {{"x", Hdf5Type::kFloat32, {1024, 1024}}}, "complete"));
        }),
        {(folder / "big.h5").string()});
  }
  // The library is usable afterwards.
  set_hdf5_mark(folder / "big.h5", create_hdf5_file(folder / "big.h5", datasets(), "complete"));
  REQUIRE(locate_hdf5_datasets(folder / "big.h5", datasets(), "complete").size() == 6);
}

}  // namespace
}  // namespace lorsa::io
