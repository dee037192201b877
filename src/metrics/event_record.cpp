#include "metrics/event_record.h"

#include <bit>

#include "metrics/crc32c.h"

namespace lorsa::metrics {
namespace {

// Protobuf's wire types.
enum class Wire : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

constexpr uint64_t kSessionStart = 1;  // SessionLog.SessionStatus

template <typename Integer>
void put_little_endian(std::string& out, Integer value) {
  for (size_t byte = 0; byte < sizeof value; ++byte) {
    out += static_cast<char>((value >> (8 * byte)) & 0xffU);
  }
}

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80U; value >>= 7U) {
    out += static_cast<char>((value & 0x7fU) | 0x80U);
  }
  out += static_cast<char>(value);
}

void put_key(std::string& out, uint32_t field, Wire wire) {
  put_varint(out, (field << 3U) | static_cast<uint32_t>(wire));
}

void put_bytes(std::string& out, uint32_t field, std::string_view bytes) {
  put_key(out, field, Wire::kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}

/// Event.wall_time and, where it is not 0, Event.step.
std::string event_at(double wall_time_s, int64_t step) {
  std::string event;
  put_key(event, 1, Wire::kFixed64);
  put_little_endian(event, std::bit_cast<uint64_t>(wall_time_s));
  if (step != 0) {
    put_key(event, 2, Wire::kVarint);
    put_varint(event, static_cast<uint64_t>(step));
  }
  return event;
}

}  // namespace

std::string version_event(double wall_time_s) {
  std::string event = event_at(wall_time_s, 0);
  put_bytes(event, 3, "brain.Event:2");
  return event;
}

std::string start_event(double wall_time_s, int64_t step) {
  std::string log;
  put_key(log, 1, Wire::kVarint);
  put_varint(log, kSessionStart);
  std::string event = event_at(wall_time_s, step);
  put_bytes(event, 7, log);
  return event;
}

std::string scalar_event(double wall_time_s, int64_t step, const std::vector<Scalar>& scalars) {
  std::string summary;
  for (const Scalar& scalar : scalars) {
    std::string value;
    put_bytes(value, 1, scalar.tag);
    put_key(value, 2, Wire::kFixed32);
    put_little_endian(value, std::bit_cast<uint32_t>(static_cast<float>(scalar.value)));
    put_bytes(summary, 1, value);
  }
  std::string event = event_at(wall_time_s, step);
  put_bytes(event, 5, summary);
  return event;
}

std::string event_record(std::string_view event) {
  std::string record;
  put_little_endian(record, uint64_t{event.size()});
  put_little_endian(record, masked_crc32c(record));
  record += event;
  put_little_endian(record, masked_crc32c(event));
  return record;
}

}  // namespace lorsa::metrics
