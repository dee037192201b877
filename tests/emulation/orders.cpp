#include "emulation/orders.h"

#include <algorithm>
#include <cstdlib>

namespace lorsa::emulation {

int num_orders() {
  const char* text = std::getenv("LORSA_EMULATION_ORDERS");
  return text == nullptr ? 2 : std::max(1, std::atoi(text));
}

}  // namespace lorsa::emulation
