#pragma once

#include "lorsa/eval/convert.h"
#include "lorsa/study/study.h"

namespace lorsa::eval {

/// Judges the weights of `imported` as scaled and as folded ones on rows of a study's cache,
/// held-out ones where there are any; the study gets both as members.
[[nodiscard]] Readings judge_readings(const model::ImportedDictionary& imported,
                                      study::Study& study);

}  // namespace lorsa::eval
