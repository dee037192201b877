#include "analysis/dump_inputs.h"

#include <algorithm>
#include <utility>

#include "lorsa/analysis/dump.h"
#include "lorsa/core/device.h"

namespace lorsa::analysis {
namespace {

/// Contexts are kept on the host, of a head no more than there are tokens.
void check_context_memory(CollectorOptions possible, const data::Manifest& manifest) {
  for (int64_t* count :
       {&possible.num_contexts, &possible.num_quantiles, &possible.num_non_firing}) {
    *count = std::min(*count, manifest.num_tokens);
  }
  possible.window_tokens = std::min(possible.window_tokens, manifest.context_length);
  check_memory(static_cast<double>(dump_bytes(possible)), c10::kCPU,
               "contexts of all heads (`contexts`, `quantile_contexts`, `non_firing_contexts`, "
               "`window`)");
}

}  // namespace

DumpInputs::DumpInputs(study::Study all, CollectorOptions contexts, const RowsOfDump& wanted)
    : study(std::move(all)),
      dictionary(study.members().front().dictionary.in_unit_form()),
      collector(contexts),
      rows(study::spread(study.cache().rows(data::Side::kAll), wanted.max_rows)),
      batch_rows(wanted.batch_rows),
      progress(wanted.progress) {
  study.require_members_of_cache();
  collector.num_heads = dictionary.shape().num_ov_heads;
  check_context_memory(collector, manifest());
}

}  // namespace lorsa::analysis
