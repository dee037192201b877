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
  return named == ranks.size() ? text : concat(text, " and ", ranks.size() - named, " more");
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
  std::string text = concat("rank ",
                            roll_call.rank,
                            " waited ",
                            roll_call.timeout_s,
                            " s for ",
                            roll_call.operation,
                            " (operation ",
                            roll_call.number,
                            ")");
  if (!silent.empty()) {
    text += concat("; ",
                   list_ranks(silent),
                   " did not arrive and gives no sign of life: its process is stopped or gone, or "
                   "its machine cannot be reached");
  }
  if (!behind.empty()) {
    text += concat("; ",
                   list_ranks(behind),
                   " did not arrive, having begun ",
                   most_begun,
                   behind.size() == 1 ? "" : " at most",
                   ": slow or stuck elsewhere (a longer time-out helps the slow)");
  }
  if (silent.empty() && behind.empty()) {
    text += "; all ranks have begun it: the network between them stalls";
  }
  return text;
}

}  // namespace lorsa::dist
