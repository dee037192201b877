#include "data/attention_file.h"

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "data/shard_format.h"
#include "lorsa/core/error.h"
#include "lorsa/io/checksum.h"
#include "lorsa/io/safetensors.h"

namespace lorsa::data {
namespace {

struct Expected {
  std::string name;
  at::Tensor kernels::Mhsa::*tensor;
  std::vector<int64_t> shape;
  bool required;
};

std::vector<Expected> expected_tensors(int64_t heads, int64_t kv_heads, int64_t d, int64_t width) {
  using kernels::Mhsa;
  return {{"W_Q", &Mhsa::W_Q, {heads, d, width}, true},
          {"W_K", &Mhsa::W_K, {kv_heads, d, width}, true},
          {"W_V", &Mhsa::W_V, {kv_heads, d, width}, true},
          {"W_O", &Mhsa::W_O, {heads, width, d}, true},
          {"b_Q", &Mhsa::b_Q, {heads, width}, false},
          {"b_K", &Mhsa::b_K, {kv_heads, width}, false},
          {"b_V", &Mhsa::b_V, {kv_heads, width}, false},
          {"b_O", &Mhsa::b_O, {d}, false},
          {"q_norm", &Mhsa::q_norm, {width}, false},
          {"k_norm", &Mhsa::k_norm, {width}, false}};
}

}  // namespace

AttentionInfo save_attention(const std::filesystem::path& folder,
                             const kernels::Mhsa& attention,
                             int64_t d_model) {
  LORSA_CHECK(attention.W_Q.defined() && attention.W_Q.dim() == 3 && attention.W_K.defined() &&
                  attention.W_K.dim() == 3,
              ShapeError, "the layer's attention: expected W_Q [N, D, A] and W_K [Nkv, D, A]");
  io::NamedTensors tensors;
  for (const Expected& expected : expected_tensors(attention.num_heads(), attention.num_kv_heads(),
                                                   d_model, attention.head_width())) {
    const at::Tensor& tensor = attention.*expected.tensor;
    if (!tensor.defined() && !expected.required) {
      continue;
    }
    LORSA_CHECK(tensor.defined() && tensor.sizes() == at::IntArrayRef(expected.shape), ShapeError,
                "the layer's attention: {}: expected shape {}, found {}", expected.name,
                at::IntArrayRef(expected.shape),
                tensor.defined() ? formatted("{}", tensor.sizes()) : std::string("nothing"));
    tensors.emplace_back(expected.name, tensor.detach().to(at::kCPU, at::kFloat));
  }
  io::write_safetensors(folder / kAttentionFile, tensors);
  return {io::file_xxh3(folder / kAttentionFile), attention.attn_scale, attention.qk_norm_eps,
          attention.rope};
}

kernels::Mhsa load_attention(const std::filesystem::path& folder, const Manifest& manifest) {
  const AttentionInfo& info = manifest.attention.value();
  const std::filesystem::path path = folder / kAttentionFile;
  const io::SafetensorsReader reader(path);
  const std::string checksum = io::file_xxh3(path);
  LORSA_CHECK(checksum == info.checksum, FormatError, "{}: checksum: the manifest has {}, found {}",
              path, info.checksum, checksum);
  const std::vector<int64_t> q_shape = reader.shape("W_Q");
  const std::vector<int64_t> k_shape = reader.shape("W_K");
  LORSA_CHECK(
      q_shape.size() == 3 && k_shape.size() == 3 && k_shape[0] > 0 &&
          q_shape[0] % k_shape[0] == 0 && q_shape[1] == manifest.d_model,
      FormatError,
      "{}: expected W_Q [N, {}, A] and W_K [Nkv, D, A] with N a multiple of Nkv, found {} and {}",
      path, manifest.d_model, at::IntArrayRef(q_shape), at::IntArrayRef(k_shape));
  kernels::Mhsa attention;
  for (const Expected& expected :
       expected_tensors(q_shape[0], k_shape[0], manifest.d_model, q_shape[2])) {
    if (expected.required || reader.contains(expected.name)) {
      attention.*expected.tensor = reader.read_checked(expected.name, expected.shape, at::kFloat);
    }
  }
  attention.attn_scale = info.attn_scale;
  attention.qk_norm_eps = info.qk_norm_eps;
  attention.rope = info.rope;
  LORSA_CHECK(attention.rope.rotary_dim <= q_shape[2], FormatError,
              "{}: expected heads of at least rotary_dim = {}, found {}", path,
              attention.rope.rotary_dim, q_shape[2]);
  return attention;
}

}  // namespace lorsa::data
