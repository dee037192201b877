#include "lorsa/model/dictionary.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "lorsa/core/error.h"
#include "lorsa/kernels/attention.h"
#include "model/kind.h"
#include "model/projections.h"
#include "model/selection.h"

namespace lorsa::model {
namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

void validate_attention(const DictionaryShape& s) {
  LORSA_CHECK(s.num_qk_heads > 0 && s.d_qk > 0, ConfigError,
              "model: num_qk_heads = {}, d_qk = {} must be positive", s.num_qk_heads, s.d_qk);
  LORSA_CHECK(s.num_ov_heads % s.num_qk_heads == 0, ConfigError,
              "model.num_qk_heads = {} does not divide {} OV heads", s.num_qk_heads,
              s.num_ov_heads);
  LORSA_CHECK(s.attn_scale > 0.0 && std::isfinite(s.attn_scale), ConfigError,
              "model.attn_scale = {} must be positive", s.attn_scale);
  LORSA_CHECK(s.rope.rotary_dim >= 0 && s.rope.rotary_dim <= s.d_qk && s.rope.rotary_dim % 2 == 0,
              ConfigError, "rotary_dim = {} must be even and at most model.d_qk = {}",
              s.rope.rotary_dim, s.d_qk);
}

}  // namespace

const std::vector<std::pair<std::string, Activation>>& activation_words() {
  static const std::vector<std::pair<std::string, Activation>> words = {
      {"topk", Activation::kTopK},
      {"topk_signed", Activation::kTopKSigned},
      {"batchtopk", Activation::kBatchTopK},
      {"relu", Activation::kRelu},
      {"jumprelu", Activation::kJumpRelu}};
  return words;
}

void validate(const DictionaryShape& s) {
  LORSA_CHECK(s.d_model > 0 && s.num_ov_heads > 0, ConfigError,
              "model: d_model = {}, num_ov_heads = {} must be positive", s.d_model, s.num_ov_heads);
  LORSA_CHECK(!is_sparse(s.activation) || (s.top_k >= 1 && s.top_k <= s.num_ov_heads), ConfigError,
              "model.top_k = {} is outside [1, model.num_ov_heads = {}]", s.top_k, s.num_ov_heads);
  const Kind& kind = kind_of(s.kind);
  if (kind.attends) {
    validate_attention(s);
    return;
  }
  LORSA_CHECK(s.num_qk_heads == 0 && s.d_qk == 0 && s.num_virtual_keys == 0 && !s.qk_norm &&
                  s.rope.rotary_dim == 0,
              ConfigError,
              "model: {} has no attention, found num_qk_heads = {}, d_qk = {}, num_virtual_keys = "
              "{}, rotary_dim = {}",
              kind.info.noun, s.num_qk_heads, s.d_qk, s.num_virtual_keys, s.rope.rotary_dim);
}

std::string description(const DictionaryShape& s) {
  std::string noun = kind_info(s.kind).noun;
  noun.erase(0, noun.find(' ') + 1);
  return s.num_qk_heads > 0 ? formatted("{}, D {}, {} OV heads, {} QK heads of {}", noun, s.d_model,
                                        s.num_ov_heads, s.num_qk_heads, s.d_qk)
                            : formatted("{}, D {}, {} features", noun, s.d_model, s.num_ov_heads);
}

Dictionary::Dictionary(DictionaryShape shape, DictionaryWeights weights)
    : shape_(std::move(shape)), weights_(std::move(weights)) {
  if (shape_.num_qk_heads > 0 && shape_.attn_scale == 0.0) {
    shape_.attn_scale = std::sqrt(static_cast<double>(shape_.d_qk));
  }
  validate(shape_);
  for (const auto& [name, tensor] : std::as_const(weights_).named()) {
    const std::vector<int64_t> expected = weight_shape(shape_, name);
    LORSA_CHECK(tensor->sizes() == at::IntArrayRef(expected) && tensor->is_contiguous(), ShapeError,
                "weight {}: expected a contiguous {}, found {}", name, at::IntArrayRef(expected),
                tensor->sizes());
  }
  const std::vector<std::string> expected = weight_names(shape_);
  std::vector<std::string> found;
  for (const auto& [name, tensor] : std::as_const(weights_).named()) {
    found.push_back(name);
  }
  LORSA_CHECK(found == expected, ShapeError, "Lorsa: expected the weights {}; found {}",
              joined(expected), joined(found));
}

kernels::TopK Dictionary::encode(const at::Tensor& x_BTD, int64_t top_k) const {
  const at::NoGradGuard no_grad;
  return keep_heads(shape_, weights_, pre_activations(x_BTD), output_norms(),
                    top_k > 0 ? top_k : shape_.top_k,
                    /*eligible_P=*/at::Tensor());
}

at::Tensor Dictionary::decode(const kernels::TopK& kept) const {
  const at::NoGradGuard no_grad;
  return kernels::sparse_decode(kept, weights_.W_O, weights_.b_D);
}

Reconstruction Dictionary::reconstruct(const at::Tensor& x_BTD, int64_t top_k) const {
  Reconstruction out;
  out.kept = encode(x_BTD, top_k);
  out.y_BTD = decode(out.kept).view(x_BTD.sizes());
  return out;
}

Reading Dictionary::read(const at::Tensor& x_BTD) const {
  const at::NoGradGuard no_grad;
  const Projections p = project(shape_, weights_, x_BTD);
  Reading out;
  out.kept =
      keep_heads(shape_, weights_, attend(shape_, weights_, p).z_PH, output_norms(), shape_.top_k,
                 /*eligible_P=*/at::Tensor());
  out.q_BTSE = p.q_BTSE;
  out.k_BTSE = p.k_BTSE;
  out.v_BTSG = p.v_BTSG;
  return out;
}

at::Tensor Dictionary::pre_activations(const at::Tensor& x_BTD) const {
  const at::NoGradGuard no_grad;
  return attend(shape_, weights_, project(shape_, weights_, x_BTD)).z_PH;
}

at::Tensor Dictionary::qk_log_patterns(const at::Tensor& x_BTD,
                                       int64_t first,
                                       int64_t count) const {
  const at::NoGradGuard no_grad;
  LORSA_CHECK(shape_.num_qk_heads > 0, ConfigError, "{} has no attention patterns", info().noun);
  LORSA_CHECK(first >= 0 && count >= 1 && first + count <= shape_.num_qk_heads, ShapeError,
              "qk_log_patterns: QK heads [{}, {}) are outside [0, {})", first, first + count,
              shape_.num_qk_heads);
  const int64_t T = x_BTD.size(1);
  const Projections p = project_qk(shape_, weights_, x_BTD);
  const at::Tensor q_BSTE = p.q_BTSE.narrow(2, first, count).transpose(1, 2);
  const at::Tensor k_BSTE = p.k_BTSE.narrow(2, first, count).transpose(1, 2);
  at::Tensor score_BSTT = at::matmul(q_BSTE, k_BSTE.transpose(2, 3)).div_(shape_.attn_scale);
  score_BSTT.masked_fill_(at::ones({T, T}, x_BTD.options().dtype(at::kBool)).triu_(1),
                          -std::numeric_limits<double>::infinity());
  if (!weights_.virtual_k.defined()) {
    return at::log_softmax(score_BSTT, -1);
  }
  const at::Tensor keys_SEn = weights_.virtual_k.narrow(1, first, count).permute({1, 2, 0});
  const at::Tensor virtual_BSTn = at::matmul(q_BSTE, keys_SEn).div_(shape_.attn_scale);
  return at::log_softmax(at::cat({score_BSTT, virtual_BSTn}, -1), -1).narrow(-1, 0, T);
}

at::Tensor Dictionary::output_norms() const {
  const at::NoGradGuard no_grad;
  return at::linalg_vector_norm(weights_.W_O, 2, at::IntArrayRef{1});
}

void Dictionary::fold(double input_scale, double target_scale) {
  const at::NoGradGuard no_grad;
  for (at::Tensor* tensor : {&weights_.W_Q, &weights_.W_K, &weights_.W_V}) {
    if (tensor->defined()) {
      tensor->mul_(input_scale);
    }
  }
  weights_.W_O.div_(target_scale);
  weights_.b_D.div_(target_scale);
  if (weights_.log_threshold.defined()) {
    weights_.log_threshold.sub_(std::log(target_scale));
  }
}

void Dictionary::to_jumprelu(double threshold) {
  const at::NoGradGuard no_grad;
  LORSA_CHECK(shape_.activation == Activation::kTopK || shape_.activation == Activation::kBatchTopK,
              ConfigError, "only a topk or batchtopk Lorsa can become a jumprelu one");
  LORSA_CHECK(threshold > 0.0 && std::isfinite(threshold), ConfigError,
              "jumprelu: a threshold of {}, expected > 0: did any head act?", threshold);
  weights_.log_threshold =
      at::full({shape_.num_ov_heads}, std::log(threshold), weights_.W_O.options());
  shape_.activation = Activation::kJumpRelu;
}

Dictionary Dictionary::in_unit_form() const {
  const at::NoGradGuard no_grad;
  const at::Tensor norm_H = output_norms();
  // A head that writes nothing keeps a zero row and gets activation 0, which is
  // the length of what it writes.
  const at::Tensor divisor_H = at::where(norm_H > 0, norm_H, at::ones_like(norm_H));
  DictionaryWeights weights = weights_;
  weights.W_V = weights_.W_V * norm_H.unsqueeze(1);
  weights.b_V = weights_.b_V * norm_H;
  weights.W_O = weights_.W_O / divisor_H.unsqueeze(1);
  return {shape_, std::move(weights)};
}

void Dictionary::to(c10::Device device, at::ScalarType dtype) {
  for (const auto& [name, tensor] : weights_.named()) {
    *tensor = tensor->to(device, dtype);
  }
}

}  // namespace lorsa::model
