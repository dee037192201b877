#include "dist/lost_ranks.h"

#include <algorithm>

#include "lorsa/core/error.h"

namespace lorsa::dist {

std::string list_ranks(const std::vector<int64_t>& ranks) {
  constexpr size_t kMostNamed = 8;
  const size_t named = ranks.size() <= kMostNamed + 1 ? ranks.size() : kMostNamed;
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < named; ++i) {
    const bool last = i + 1 == ranks.size();
    text += (i == 0 ? "" : last ? " and " : ", ") + std::to_string(ranks[i]);
  }
  return named == ranks.size() ? text : formatted("{} and {} more", text, ranks.size() - named);
}

std::string lost_ranks_message(const RollCall& roll_call) {
  std::vector<int64_t> silent;
  std::vector<int64_t> behind;
  int64_t most_begun = 0;  // by those behind
  for (size_t rank = 0; rank < roll_call.begun.size(); ++rank) {
    if (roll_call.begun[rank] == RollCall::kSilent) {
      silent.push_back(static_cast<int64_t>(rank));
    } else if (roll_call.begun[rank] < roll_call.number) {
      behind.push_back(static_cast<int64_t>(rank));
      most_begun = std::max(most_begun, roll_call.begun[rank]);
    }
  }
  std::string text = formatted("rank {} waited {} s for {} (operation {})", roll_call.rank,
                               roll_call.timeout_s, roll_call.operation, roll_call.number);
  if (!silent.empty()) {
    text += formatted(
        "; {} did not arrive and gives no sign of life: its process is stopped or gone, or its "
        "machine cannot be reached",
        list_ranks(silent));
  }
  if (!behind.empty()) {
    text += formatted(
        "; {} did not arrive, having begun {}{}: slow or stuck elsewhere (a longer time-out helps "
        "the slow)",
        list_ranks(behind), most_begun, behind.size() == 1 ? "" : " at most");
  }
  if (silent.empty() && behind.empty()) {
    text += "; all ranks have begun it: the network between them stalls";
  }
  return text;
}

}  // namespace lorsa::dist
