#pragma once

#include <string>
#include <string_view>

namespace lorsa::model {

/// Rewrites the pickle of a state dict so that LibTorch's unpickler can read it.
///
/// Python's state dicts are collections.OrderedDict with an attribute `_metadata`, of which
/// LibTorch makes None. The result has a plain dict in place of every OrderedDict and a tuple
/// (dict, attributes) where attributes are set. Nothing else is changed, and nothing is built:
/// this only knows how long each opcode of protocol 2 is. Throws FormatError for opcodes and
/// classes that no state dict has.
[[nodiscard]] std::string with_plain_dicts(std::string_view pickle);

}  // namespace lorsa::model
