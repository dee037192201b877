#pragma once

#include <cstdint>
#include <string>

#include "lorsa/io/json.h"
#include "lorsa/model/checkpoint.h"

// config.json of a llamascopium Lorsa: 30 keys, of which a Lorsa's own shape determines most. What
// it does not determine travels in CheckpointInfo::llamascopium_json.

namespace lorsa::model {

/// What a config.json says, checked.
struct PeerConfig {
  DictionaryShape shape;
  Normalization normalization = Normalization::kFolded;
  std::string stated;  ///< norm_activation
  bool decoder_bias = true;
  std::string hook_in;
  std::string hook_out;
  int64_t layer = 0;  ///< of both hooks
  int64_t n_ctx = 0;
};

/// Throws FormatError naming `where`, key, expected and found.
[[nodiscard]] PeerConfig parse_peer_config(const io::Json& config, const std::string& where);

/// The 30 keys in llamascopium's order, with its defaults where a Lorsa says nothing. Throws
/// FormatError naming `where` for what the format cannot say.
[[nodiscard]] io::Json peer_config_of(const DictionaryShape& shape,
                                      const CheckpointInfo& info,
                                      int64_t n_ctx,
                                      const std::string& where);

/// Members of `config` that are not in `ours` or differ there.
[[nodiscard]] io::Json differing(const io::Json& config, const io::Json& ours);

/// Puts into `config`, as peer_config_of() made it for `lorsa` and `layer`, those of `kept` that
/// contradict neither.
void restore_kept(io::Json& config,
                  const io::Json& kept,
                  const Dictionary& dictionary,
                  int64_t layer);

/// Whether llamascopium knows the key.
[[nodiscard]] bool is_peer_key(const std::string& key);

}  // namespace lorsa::model
