#include "model/llamascopium_config.h"

#include <ATen/ATen.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "lorsa/core/error.h"
#include "model/foreign_tensors.h"

namespace lorsa::model {
namespace {

// Larger products with expansion_factor are no number of heads.
constexpr double kMaxHeads = 2147483648.0;

Activation activation_of(const std::string& act_fn, const std::string& where) {
  if (act_fn == "topk") {
    return Activation::kTopK;
  }
  if (act_fn == "batchtopk") {
    return Activation::kBatchTopK;
  }
  if (act_fn == "relu") {
    return Activation::kRelu;
  }
  if (act_fn == "jumprelu") {
    return Activation::kJumpRelu;
  }
  throw FormatError(formatted(
      "{}: act_fn: expected one of topk, batchtopk, relu, jumprelu; found {}", where, act_fn));
}

std::string act_fn_of(Activation activation, const std::string& where) {
  switch (activation) {
    case Activation::kTopK:
      return "topk";
    case Activation::kBatchTopK:
      return "batchtopk";
    case Activation::kRelu:
      return "relu";
    case Activation::kJumpRelu:
      return "jumprelu";
    case Activation::kTopKSigned:
      break;
  }
  throw FormatError(
      formatted("{}: activation: expected one of topk, batchtopk, relu, jumprelu, which "
                "llamascopium has; found topk_signed",
                where));
}

int64_t num_heads(int64_t d_model, double expansion_factor) {
  return static_cast<int64_t>(static_cast<double>(d_model) * expansion_factor);
}

/// The factor that gives exactly H when the product is cut to a whole number.
double expansion_factor_of(const DictionaryShape& shape) {
  double factor = static_cast<double>(shape.num_ov_heads) / static_cast<double>(shape.d_model);
  while (num_heads(shape.d_model, factor) < shape.num_ov_heads) {
    factor = std::nextafter(factor, std::numeric_limits<double>::infinity());
  }
  return factor;
}

/// The N of "blocks.N.".
int64_t layer_of(const std::string& hook, const std::string& key, const std::string& where) {
  constexpr std::string_view kPrefix = "blocks.";
  int64_t layer = -1;
  if (hook.starts_with(kPrefix)) {
    const char* begin = hook.data() + kPrefix.size();
    const char* end = hook.data() + hook.size();
    const auto [stop, error] = std::from_chars(begin, end, layer);
    if (error != std::errc() || stop == end || *stop != '.') {
      layer = -1;
    }
  }
  LORSA_CHECK(layer >= 0, FormatError, "{}: {}: not blocks.<layer>.<point>: {}", where, key, hook);
  return layer;
}

void parse_hooks(const io::Json& config, const std::string& where, PeerConfig& peer) {
  peer.hook_in = io::member<std::string>(config, "hook_point_in", where);
  peer.hook_out = io::member<std::string>(config, "hook_point_out", where);
  peer.layer = layer_of(peer.hook_in, "hook_point_in", where);
  const int64_t layer_out = layer_of(peer.hook_out, "hook_point_out", where);
  LORSA_CHECK(
      peer.hook_in != peer.hook_out && peer.layer == layer_out, FormatError,
      "{}: hook_point_in, hook_point_out: expected two points of one layer, found {} and {}", where,
      peer.hook_in, peer.hook_out);
}

void parse_normalization(const io::Json& config, const std::string& where, PeerConfig& peer) {
  peer.stated =
      member_if_present<std::string>(config, "norm_activation", where, std::string("dataset-wise"));
  LORSA_CHECK(peer.stated == "dataset-wise" || peer.stated == "inference", FormatError,
              "{}: norm_activation: expected dataset-wise or inference (one factor), found {}",
              where, peer.stated);
  peer.normalization = peer.stated == "inference" ? Normalization::kFolded : Normalization::kScaled;
}

void parse_activation(const io::Json& config, const std::string& where, DictionaryShape& shape) {
  shape.activation = activation_of(
      member_if_present<std::string>(config, "act_fn", where, std::string("relu")), where);
  shape.top_k = member_if_present<int64_t>(config, "top_k", where, 50);
  // Relu keeps the same heads either way.
  LORSA_CHECK(shape.activation == Activation::kRelu ||
                  member_if_present<bool>(config, "sparsity_include_decoder_norm", where, true),
              FormatError,
              "{}: sparsity_include_decoder_norm: expected true (a Lorsa scores heads by z times "
              "the norm of W_O), found false",
              where);
}

void parse_qk_norm(const io::Json& config, const std::string& where, DictionaryShape& shape) {
  shape.qk_norm = member_if_present<bool>(config, "use_post_qk_ln", where, false);
  shape.qk_norm_eps = member_if_present<double>(config, "eps", where, 1e-6);
  const auto type = config.find("normalization_type");
  const bool null = type == config.end() || type->is_null();
  const auto name =
      null ? std::string("null") : io::member<std::string>(config, "normalization_type", where);
  LORSA_CHECK(null || name == "RMS" || (name == "LN" && !shape.qk_norm), FormatError,
              "{}: normalization_type: expected RMS, found {}", where, name);
  LORSA_CHECK(!shape.qk_norm || name == "RMS", FormatError,
              "{}: normalization_type: expected RMS with use_post_qk_ln, found {}", where, name);
  LORSA_CHECK(shape.qk_norm_eps >= 0.0, FormatError, "{}: eps: expected a number >= 0, found {}",
              where, shape.qk_norm_eps);
}

void parse_attention(const io::Json& config, const std::string& where, DictionaryShape& shape) {
  const auto position = member_if_present<std::string>(config, "positional_embedding_type", where,
                                                       std::string("rotary"));
  LORSA_CHECK(position == "rotary" || position == "none", FormatError,
              "{}: positional_embedding_type: expected rotary or none, found {}", where, position);
  shape.rope = rope_of_config(config, position == "rotary",
                              /*adjacent_pairs_default=*/true, shape.d_qk, where);
  const auto scale = config.find("attn_scale");
  shape.attn_scale = scale == config.end() || scale->is_null()
                         ? std::sqrt(static_cast<double>(shape.d_qk))
                         : io::member<double>(config, "attn_scale", where);
}

/// The keys that say nothing about what is computed, but must be of their types.
void check_other_keys(const io::Json& config, const std::string& where) {
  static_cast<void>(member_if_present<bool>(config, "use_triton_kernel", where, false));
  for (const char* key :
       {"sparsity_threshold_for_triton_spmm_kernel", "jumprelu_threshold_window"}) {
    static_cast<void>(member_if_present<double>(config, key, where, 0.0));
  }
}

bool is_whole(double value) {
  return std::floor(value) == value && std::abs(value) < 9.0e15;
}

/// Whether a kept value may stand in place of what peer_config_of() wrote.
bool may_stand(const std::string& key,
               const io::Json& value,
               const Dictionary& dictionary,
               int64_t layer) {
  static const std::set<std::string> kFree = {"use_triton_kernel",
                                              "sparsity_threshold_for_triton_spmm_kernel",
                                              "jumprelu_threshold_window", "n_ctx"};
  static const std::set<std::string> kNtk = {"NTK_by_parts_factor", "NTK_by_parts_low_freq_factor",
                                             "NTK_by_parts_high_freq_factor", "old_context_len"};
  const DictionaryShape& shape = dictionary.shape();
  if (kFree.contains(key) || !is_peer_key(key)) {
    return true;
  }
  if (key == "hook_point_in" || key == "hook_point_out") {
    return value.is_string() &&
           value.get<std::string>().starts_with(formatted("blocks.{}.", layer));
  }
  if (key == "use_decoder_bias") {
    return value == true || !dictionary.weights().b_D.any().item<bool>();
  }
  if (key == "sparsity_include_decoder_norm") {
    return shape.activation == Activation::kRelu;
  }
  if (key == "expansion_factor") {
    return value.is_number() && num_heads(shape.d_model, value.get<double>()) == shape.num_ov_heads;
  }
  if (key == "rotary_dim") {
    return shape.rope.rotary_dim == 0;
  }
  if (key == "normalization_type") {
    return !shape.qk_norm;
  }
  return kNtk.contains(key) && shape.rope.scaling == kernels::RopeScaling::kNone;
}

}  // namespace

PeerConfig parse_peer_config(const io::Json& config, const std::string& where) {
  PeerConfig peer;
  const auto sae_type =
      member_if_present<std::string>(config, "sae_type", where, std::string("lorsa"));
  LORSA_CHECK(sae_type == "lorsa", FormatError, "{}: sae_type: expected lorsa, found {}", where,
              sae_type);
  DictionaryShape& shape = peer.shape;
  shape.d_model = size_member(config, "d_model", where);
  const auto factor = io::member<double>(config, "expansion_factor", where);
  const double heads = static_cast<double>(shape.d_model) * factor;
  LORSA_CHECK(heads >= 1.0 && heads < kMaxHeads, FormatError,
              "{}: expansion_factor: expected a number that makes d_model = {} a number of heads "
              "in [1, 2^31), found {}",
              where, shape.d_model, factor);
  shape.num_ov_heads = num_heads(shape.d_model, factor);
  shape.num_qk_heads = size_member(config, "n_qk_heads", where);
  shape.d_qk = size_member(config, "d_qk_head", where);
  peer.decoder_bias = member_if_present<bool>(config, "use_decoder_bias", where, true);
  peer.n_ctx = size_member(config, "n_ctx", where);
  parse_hooks(config, where, peer);
  parse_normalization(config, where, peer);
  parse_activation(config, where, shape);
  parse_qk_norm(config, where, shape);
  parse_attention(config, where, shape);
  check_other_keys(config, where);
  validate_read(shape, where);
  return peer;
}

io::Json peer_config_of(const DictionaryShape& shape,
                        const CheckpointInfo& info,
                        int64_t n_ctx,
                        const std::string& where) {
  const kernels::RopeSpec& rope = shape.rope;
  LORSA_CHECK(shape.num_virtual_keys == 0, FormatError,
              "{}: num_virtual_keys: expected 0, found {}", where, shape.num_virtual_keys);
  LORSA_CHECK(rope.scaling != kernels::RopeScaling::kLinear, FormatError,
              "{}: rope.scaling: expected none or llama3, found linear", where);
  LORSA_CHECK(is_whole(rope.base), FormatError, "{}: rope.base: expected a whole number, found {}",
              where, rope.base);
  LORSA_CHECK(info.site.layer >= 0, FormatError,
              "{}: language_model.layer: expected a number, found {}", where, info.site.layer);
  LORSA_CHECK(n_ctx >= 1, FormatError, "{}: n_ctx: expected at least 1, found {}", where, n_ctx);
  const bool ntk = rope.scaling == kernels::RopeScaling::kLlama3;
  const std::string block = formatted("blocks.{}", info.site.layer);
  return {{"sae_type", "lorsa"},
          {"d_model", shape.d_model},
          {"expansion_factor", expansion_factor_of(shape)},
          {"use_decoder_bias", true},
          {"act_fn", act_fn_of(shape.activation, where)},
          {"norm_activation",
           info.normalization == Normalization::kFolded ? "inference" : "dataset-wise"},
          {"sparsity_include_decoder_norm", true},
          {"top_k", shape.top_k},
          {"use_triton_kernel", false},
          {"sparsity_threshold_for_triton_spmm_kernel", 0.996},
          {"jumprelu_threshold_window", 2.0},
          {"hook_point_in", block + ".ln1.hook_normalized"},
          {"hook_point_out", block + ".hook_attn_out"},
          {"n_qk_heads", shape.num_qk_heads},
          {"d_qk_head", shape.d_qk},
          {"positional_embedding_type", rope.rotary_dim > 0 ? "rotary" : "none"},
          {"rotary_dim", rope.rotary_dim},
          {"rotary_base", static_cast<int64_t>(rope.base)},
          {"rotary_adjacent_pairs", rope.layout == kernels::RopeLayout::kAdjacentPairs},
          {"rotary_scale", 1},
          {"use_NTK_by_parts_rope", ntk},
          {"NTK_by_parts_factor", ntk ? rope.factor : 1.0},
          {"NTK_by_parts_low_freq_factor", ntk ? rope.low_freq_factor : 1.0},
          {"NTK_by_parts_high_freq_factor", ntk ? rope.high_freq_factor : 1.0},
          {"old_context_len", ntk ? rope.original_context : int64_t{2048}},
          {"n_ctx", n_ctx},
          {"attn_scale", shape.attn_scale},
          {"use_post_qk_ln", shape.qk_norm},
          {"normalization_type", shape.qk_norm ? io::Json("RMS") : io::Json(nullptr)},
          {"eps", shape.qk_norm_eps}};
}

io::Json differing(const io::Json& config, const io::Json& ours) {
  io::Json rest = io::Json::object();
  for (const auto& [key, value] : config.items()) {
    if (!ours.contains(key) || ours[key] != value) {
      rest[key] = value;
    }
  }
  return rest;
}

void restore_kept(io::Json& config,
                  const io::Json& kept,
                  const Dictionary& dictionary,
                  int64_t layer) {
  for (const auto& [key, value] : kept.items()) {
    if (may_stand(key, value, dictionary, layer)) {
      config[key] = value;
    }
  }
}

bool is_peer_key(const std::string& key) {
  static const std::set<std::string> kKeys = [] {
    DictionaryShape shape;
    shape.d_model = shape.num_ov_heads = shape.num_qk_heads = shape.d_qk = shape.top_k = 1;
    std::set<std::string> keys;
    const io::Json config = peer_config_of(shape, {}, 1, "");
    for (const auto& [name, unused] : config.items()) {
      keys.insert(name);
    }
    return keys;
  }();
  return kKeys.contains(key);
}

}  // namespace lorsa::model
