#include "lorsa/metrics/event_file.h"

#include <cmath>
#include <limits>
#include <string>

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "metrics/crc32c.h"
#include "metrics/event_record.h"
#include "support/file_size_limit.h"
#include "support/throws.h"

namespace lorsa::metrics {
namespace {

std::string hex(const std::string& bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    text += kDigits[static_cast<unsigned char>(byte) >> 4U];
    text += kDigits[static_cast<unsigned char>(byte) & 15U];
  }
  return text;
}

// Behind the two records that every file begins with: their wall time is the clock's.
std::string after_start(const EventFile& events, int64_t resumed_step) {
  const size_t start = event_record(version_event(1.5)).size() +
                       event_record(start_event(1.5, resumed_step + 1)).size();
  return io::read_file(events.path()).substr(start);
}

TEST_CASE("crc32c gives the values of RFC 3720, appendix B.4", "[metrics]") {
  std::string ascending;
  std::string descending;
  for (int i = 0; i < 32; ++i) {
    ascending += static_cast<char>(i);
    descending += static_cast<char>(31 - i);
  }
  REQUIRE(crc32c(std::string(32, '\0')) == 0x8a9136aaU);
  REQUIRE(crc32c(std::string(32, '\xff')) == 0x62a8ab43U);
  REQUIRE(crc32c(ascending) == 0x46dd794eU);
  REQUIRE(crc32c(descending) == 0x113fdb5cU);
  REQUIRE(crc32c("123456789") == 0xe3069283U);
  REQUIRE(crc32c("") == 0);
}

TEST_CASE("records have the bytes that the protobuf library writes", "[metrics]") {
  // Python: tensorboard 2.21.0, event_pb2.Event(...).SerializeToString() and masked_crc32c().
  REQUIRE(hex(event_record(version_event(1.5))) ==
          "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c");
  REQUIRE(hex(event_record(start_event(1.5, 301))) ==
          "100000000000000095fbfe1809000000000000f83f10ad023a020801d17949d4");
  REQUIRE(hex(event_record(scalar_event(1700000000.25, 1048576,
                                        {{"train/loss", 0.1}, {"speed/tokens_per_s", 12345.5}}))) ==
          "3d000000000000006049f1ec0900001040fc54d941108080402a2e0a110a0a747261696e2f6c6f737315cdcc"
          "cc3d0a190a1273706565642f746f6b656e735f7065725f731500e64046b789d0f4");
  REQUIRE(hex(event_record(scalar_event(1.5, 0, {}))) ==
          "0b000000000000008615f50409000000000000f83f2a00d95aba12");
}

TEST_CASE("every append is in the file at once", "[metrics]") {
  const test::TempDir folder;
  EventFile events(folder / "run", 0);
  REQUIRE(events.path().parent_path() == folder / "run");
  REQUIRE(after_start(events, 0).empty());
  const std::vector<Scalar> scalars{{"train/loss", 0.25},
                                    {"train/fvu", std::numeric_limits<double>::infinity()}};
  events.append(64, 1.5, scalars);
  REQUIRE(after_start(events, 0) == event_record(scalar_event(1.5, 64, scalars)));
  events.append(128, 2.5, {});
  REQUIRE(after_start(events, 0) ==
          event_record(scalar_event(1.5, 64, scalars)) + event_record(scalar_event(2.5, 128, {})));
  events.finish();
  REQUIRE_THROWS_AS(events.append(192, 3.5, {}), IoError);
}

TEST_CASE("a line of metrics gives a point of every number but the tokens", "[metrics]") {
  const auto scalars = scalars_of(io::parse_json(
      R"({"tokens": 64, "loss": 0.5, "top_k": 8, "note": "x", "fvu": null, "model_s": 2})",
      "line"));
  REQUIRE(scalars.size() == 3);
  REQUIRE(scalars[0].tag == "train/loss");
  REQUIRE(scalars[0].value == 0.5);
  REQUIRE(scalars[1].tag == "train/top_k");
  REQUIRE(scalars[1].value == 8.0);
  REQUIRE(scalars[2].tag == "speed/model_s");
  REQUIRE(scalars[2].value == 2.0);

  const test::TempDir folder;
  EventFile events(folder.path(), 64);
  REQUIRE_THROWS_AS(events.append_line("{\"tokens\": 128, \"lo"), FormatError);
  REQUIRE_THROWS_AS(events.append_line("[]"), FormatError);
  test::require_parts(test::message_of<FormatError>([&] { events.append_line(R"({"loss": 1})"); }),
                      {"a line of metrics", "tokens", "found nothing"});
  REQUIRE(after_start(events, 64).empty());
  events.append_line(R"({"tokens": 128, "loss": 0.5})");
  REQUIRE(after_start(events, 64).size() ==
          event_record(scalar_event(1.0, 128, {{"train/loss", 0.5}})).size());
}

TEST_CASE("the files of a folder sort in the order in which they were begun", "[metrics]") {
  const test::TempDir folder;
  std::string previous;
  for (int session = 0; session < 4; ++session) {
    const EventFile events(folder.path(), 0);
    const std::string name = events.path().filename().string();
    REQUIRE(name.starts_with("events.out.tfevents."));
    REQUIRE(name > previous);
    previous = name;
  }
  // A clock that was set back since.
  io::write_file(folder / "events.out.tfevents.9000000000.host.1", "");
  const EventFile events(folder.path(), 0);
  REQUIRE(events.path().filename().string() > "events.out.tfevents.9000000000.host.1");
}

TEST_CASE("an event file on a full disk fails by its name and takes no more", "[metrics]") {
  const test::TempDir folder;
  EventFile events(folder.path(), 0);
  {
    const test::FileSizeLimit limit(100);
    const auto append = [&] { events.append(64, 1.5, {{std::string(100, 'x'), 1.0}}); };
    test::require_parts(test::message_of<IoError>(append),
                        {"events.out.tfevents.", "cannot write"});
  }
  test::require_parts(test::message_of<IoError>([&] { events.append(128, 1.5, {}); }),
                      {"events.out.tfevents.", "an earlier write failed"});
}

TEST_CASE("an event file needs a folder", "[metrics]") {
  const test::TempDir folder;
  io::write_file(folder / "file", "");
  test::require_parts(test::message_of<IoError>([&] { EventFile(folder / "file", 0); }), {"file"});
}

}  // namespace
}  // namespace lorsa::metrics
