#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/io/json.h"
#include "lorsa/study/study.h"

namespace lorsa::experiments {

/// How many heads of one training are found again in another of the same configuration.
///
/// Two heads match by what they write and when: match(a, b) = min(cos(W_O[a], W_O[b]), Pearson's
/// correlation of their activations over the scored tokens of held-out rows). A head's match is its
/// best one in the other training, 0 where none is positive. Heads that never act on these rows
/// take no part. Correlations are over all scored tokens, those where neither acts included; a head
/// whose activation never changes correlates with none.
struct StabilityReport {
  std::string first, second;  ///< checkpoint folders
  int64_t num_tokens = 0;
  int64_t num_heads_first = 0;  ///< that act
  int64_t num_heads_second = 0;
  double threshold = 0.7;
  double share_first = 0.0;  ///< of the first's acting heads, with a match above threshold
  double share_second = 0.0;
  double share_one_to_one = 0.0;  ///< matched pairs above threshold, no head twice (greedy, best
                                  ///< first), over the mean number of acting heads
  double share_direction = 0.0;   ///< of the first's, by the cosine alone
  double share_firing = 0.0;      ///< by the correlation alone
  double mean_match = 0.0;        ///< of the first's best matches
  std::vector<int64_t>
      histogram;  ///< of the first's best matches, 20 bins of [0, 1], lower ones in the first
};

/// The heads of a study's first member against those of its second, on the held-out rows of its
/// cache. The same call gives the same numbers.
///
/// Memory: the activations kept by both, 16 bytes each, both W_O in double and a block of 256 heads
/// times all heads. Throws ConfigError for a threshold outside [0, 1), other than two members, if
/// they are not of one kind or no head of one of them acts; Interrupted after a StopSignal.
[[nodiscard]] LORSA_API StabilityReport match_heads(const study::Study& study,
                                                    const study::PassOptions& pass,
                                                    double threshold = 0.7);

[[nodiscard]] LORSA_API io::Json to_json(const StabilityReport& report);

}  // namespace lorsa::experiments
