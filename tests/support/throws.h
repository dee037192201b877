#pragma once

#include <string>
#include <vector>

#include "support/test.h"

namespace lorsa::test {

/// Runs `action`, demands an exception of exactly type Failure and returns its message.
template <typename Failure, typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Failure& failure) {
    return failure.what();
  } catch (const std::exception& other) {
    FAIL("another exception: " << other.what());
  }
  FAIL("no exception");
  return {};
}

/// Demands that every part stands in the message.
inline void require_parts(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    INFO(message);
    REQUIRE(message.find(part) != std::string::npos);
  }
}

}  // namespace lorsa::test
