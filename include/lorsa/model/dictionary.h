#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/core/site.h"
#include "lorsa/kernels/rope.h"
#include "lorsa/kernels/sparse.h"

namespace lorsa::model {

/// What a dictionary reads of its site.
enum class Hook { kInput, kOutput };

/// A kind of dictionary as callers see it. All write the output of the site that they stand for.
struct KindInfo {
  const char* name = "";               ///< "lorsa", "sae", "transcoder"
  const char* noun = "";               ///< "a Lorsa", for messages
  const char* help = "";               ///< what it reads and writes, in a line
  Hook reads = Hook::kInput;           ///< of the site
  std::optional<Component> component;  ///< that it stands for; nothing: any
};

/// All kinds, in a fixed order.
[[nodiscard]] LORSA_API const std::vector<KindInfo>& kinds();

/// The kind called `name`. Throws ConfigError with the known names.
[[nodiscard]] LORSA_API const KindInfo& kind_info(const std::string& name);

/// From z to activations. The score of a head is relu(z) |W_O|.
enum class Activation {
  kTopK,        ///< the K best scores of every position
  kTopKSigned,  ///< the K largest |z| |W_O|, activation z
  kBatchTopK,   ///< the K * positions best scores of a batch (Bussmann et al. 2024)
  kRelu,        ///< all positive z; a penalty makes them few
  kJumpRelu     ///< scores above the head's threshold (Rajamanoharan et al. 2024)
};

/// The words for them in configurations and checkpoints.
[[nodiscard]] LORSA_API const std::vector<std::pair<std::string, Activation>>& activation_words();

/// Sizes and constants of a dictionary, letters as in docs/architecture.md. Features without
/// attention (SAE, transcoder) take the place of OV heads; there S, E and all that belongs to
/// attention are 0.
struct DictionaryShape {
  std::string kind = "lorsa";  ///< a name of kinds()
  int64_t d_model = 0;         ///< D
  int64_t num_ov_heads = 0;    ///< H
  int64_t num_qk_heads = 0;    ///< S, divides H
  int64_t d_qk = 0;            ///< E
  int64_t top_k = 0;           ///< K; relu and jumprelu do not use it
  Activation activation = Activation::kTopK;
  double attn_scale = 0.0;  ///< a divisor of q.k; 0: a Lorsa takes sqrt(E)
  bool qk_norm = false;
  double qk_norm_eps = 1e-6;
  int64_t num_virtual_keys = 0;  ///< learned keys of every QK head whose value is zero
  kernels::RopeSpec rope;

  /// OV heads of a QK head; features without attention are one group.
  [[nodiscard]] int64_t group() const {
    return num_qk_heads > 0 ? num_ov_heads / num_qk_heads : num_ov_heads;
  }
};

/// Throws ConfigError naming the two values that disagree.
LORSA_API void validate(const DictionaryShape& shape);

/// The trainable tensors. W_Q and W_K are kept as rows [S*E, D] (row s*E+e is W_Q[s][:, e]), so
/// that a projection is one product. An SAE's encoder is W_V, b_V, its decoder W_O, b_D.
struct LORSA_API DictionaryWeights {
  at::Tensor W_Q, W_K;        ///< [S*E, D]
  at::Tensor b_Q, b_K;        ///< [S, E]
  at::Tensor W_V;             ///< [H, D]
  at::Tensor b_V;             ///< [H]
  at::Tensor W_O;             ///< [H, D]
  at::Tensor b_D;             ///< [D]
  at::Tensor q_norm, k_norm;  ///< [S, E], undefined without QK norm
  at::Tensor log_threshold;   ///< [H], of scores; jumprelu only
  at::Tensor virtual_k;       ///< [num_virtual_keys, S, E], undefined without

  /// Name and tensor of everything defined, in a fixed order; names as in checkpoints.
  [[nodiscard]] std::vector<std::pair<std::string, at::Tensor*>> named();
  [[nodiscard]] std::vector<std::pair<std::string, const at::Tensor*>> named() const;
  /// The weight called `name`. Throws ShapeError for a name that no dictionary has.
  [[nodiscard]] at::Tensor& at(const std::string& name);
};

/// "Lorsa, D 576, 4608 OV heads, 18 QK heads of 64", "sae, D 576, 4608 features".
[[nodiscard]] LORSA_API std::string description(const DictionaryShape& shape);

/// Which heads axis 0 of a weight runs over.
enum class HeadAxis { kNone, kQk, kOv };

/// One row of the table of weights: the only place that says what a weight is.
struct WeightInfo {
  const char* name;  ///< in code and, for a Lorsa, in checkpoints
  at::Tensor DictionaryWeights::*member;
  std::vector<int64_t> (*sizes)(const DictionaryShape& shape);
  bool (*is_present)(const DictionaryShape& shape);
  HeadAxis axis;
  bool is_matrix;  ///< multiplies activations: decays, and bfloat16 compute reads it in bfloat16
};

/// All weights in the order of DictionaryWeights::named().
[[nodiscard]] LORSA_API std::span<const WeightInfo> weight_table();

/// The row called `name`. Throws ShapeError for a name that no dictionary has.
[[nodiscard]] LORSA_API const WeightInfo& weight_info(const std::string& name);

/// Names of the weights that are matrices.
[[nodiscard]] LORSA_API std::vector<std::string> matrix_names();

/// Names of the weights that a dictionary of this shape has, in the table's order.
[[nodiscard]] LORSA_API std::vector<std::string> weight_names(const DictionaryShape& shape);

/// Shape of the weight `name` as DictionaryWeights keeps it. Throws ShapeError for a name that no
/// dictionary has.
[[nodiscard]] LORSA_API std::vector<int64_t> weight_shape(const DictionaryShape& shape,
                                                          const std::string& name);

/// What reconstructing a batch gives: output and the heads that act, P = B*T.
struct Reconstruction {
  at::Tensor y_BTD;
  kernels::TopK kept;
};

/// A forward pass up to the heads that act, with what z-patterns are read from.
struct Reading {
  kernels::TopK kept;
  at::Tensor q_BTSE, k_BTSE;  ///< behind norm and RoPE; undefined for an SAE
  at::Tensor v_BTSG;
};

/// What keeps relu and jumprelu sparse; formulas in src/model/dense_decoding.cpp.
enum class PenaltyKind { kNone, kL1, kTanh, kL0 };

/// What a training step computes beside the squared error.
struct StepOptions {
  /// Multiplies the summed squared error: 1 / (scored tokens of the global batch * D) for the mean.
  double grad_scale = 1.0;
  int64_t top_k = 0;  ///< 0 takes the shape's

  struct Penalty {
    PenaltyKind kind = PenaltyKind::kNone;
    double scale = 0.0;    ///< multiplies the sum over scored positions and heads
    double stretch = 1.0;  ///< tanh: the c in tanh(c s)
  };

  Penalty penalty = {};

  double jumprelu_window = 2.0;  ///< width of the straight-through rectangle, in units of scores

  /// AuxK: see src/model/decoding.cpp. Sparse activations only.
  struct Auxiliary {
    int64_t k = 0;
    double coefficient = 0.0;  ///< of the auxiliary squared error beside the main one
    at::Tensor dead_heads;     ///< int64, ascending; undefined: none
  };

  Auxiliary auxiliary = {};

  enum class Qk { kTrain, kFreeze };
  Qk qk = Qk::kTrain;  ///< kFreeze: no gradients of W_Q, W_K, their biases, norms and virtual keys

  /// kBFloat16: W_Q, W_K, W_V, W_O, inputs, targets and all that lies between are bfloat16, sums
  /// and gradients of weights float32, as the weights must be. On the CPU that is for checking:
  /// slower.
  enum class Precision { kFull, kBFloat16 };
  Precision precision = Precision::kFull;

  /// The four matrices in bfloat16, where the caller keeps them (Adam writes such copies);
  /// undefined ones are rounded anew at every step.
  DictionaryWeights bfloat16_weights = {};

  enum class Threshold { kIgnore, kMeasure };
  Threshold threshold = Threshold::kIgnore;  ///< kMeasure fills StepResult::threshold

  /// Called with each weight's name and gradient as soon as nothing of the step writes or reads it
  /// any more, so that ranks can begin to sum it.
  std::function<void(const std::string&, at::Tensor&)> gradient_ready = {};
};

/// What a training step needs from one pass. Numbers are float64 [] and counts int64 [], on the
/// dictionary's device: to read one is to wait for it.
struct StepResult {
  at::Tensor squared_error;   ///< sum over scored positions and D
  at::Tensor penalty;         ///< what it adds to the loss
  at::Tensor auxiliary_loss;  ///< what AuxK adds to the loss
  at::Tensor num_scored;
  at::Tensor num_active;  ///< activations other than 0 at scored positions
  at::Tensor active_H;    ///< bool: the head acts at some scored position
  /// The lowest of the top_k * num_scored best scores of the batch, 0 where fewer are positive or
  /// it is not measured.
  at::Tensor threshold;
  /// Of loss = squared_error * grad_scale + penalty + auxiliary_loss; frozen ones are undefined.
  DictionaryWeights gradients;
  kernels::TopK kept;  ///< undefined for relu and jumprelu
};

/// One query whose z-pattern is asked for.
struct PatternQuery {
  int64_t row = 0;       ///< in [0, B)
  int64_t position = 0;  ///< in [0, T)
  int64_t head = 0;      ///< in [0, H)
};

/// What stands for a site of a language model: a Lorsa, an SAE or a transcoder (kinds()). Forward,
/// hand-written backward and the reading of single heads. Its "input" x is what the kind reads: see
/// read_of().
class LORSA_API Dictionary {
 public:
  Dictionary(DictionaryShape shape, DictionaryWeights weights);

  [[nodiscard]] const DictionaryShape& shape() const { return shape_; }

  [[nodiscard]] const DictionaryWeights& weights() const { return weights_; }

  [[nodiscard]] DictionaryWeights& weights() { return weights_; }

  [[nodiscard]] const KindInfo& info() const { return kind_info(shape_.kind); }

  /// Of what the site reads and writes that which the dictionary reads.
  [[nodiscard]] const at::Tensor& read_of(const at::Tensor& site_input,
                                          const at::Tensor& site_output) const {
    return info().reads == Hook::kInput ? site_input : site_output;
  }

  /// The heads that act on x [B, T, D] and their activations. `top_k` 0 takes the shape's.
  [[nodiscard]] kernels::TopK encode(const at::Tensor& x_BTD, int64_t top_k = 0) const;

  /// What kept heads write together, b_D included, [P, D].
  [[nodiscard]] at::Tensor decode(const kernels::TopK& kept) const;

  /// Output and kept heads of x [B, T, D] in the weights' dtype. `top_k` 0 takes the shape's.
  [[nodiscard]] Reconstruction reconstruct(const at::Tensor& x_BTD, int64_t top_k = 0) const;

  /// What reconstruct() does before it decodes; keeps the projections, P * (2 S E + H) values.
  [[nodiscard]] Reading read(const at::Tensor& x_BTD) const;

  /// z of all heads, [P, H], before selection.
  [[nodiscard]] at::Tensor pre_activations(const at::Tensor& x_BTD) const;

  /// Forward, loss and gradients for target [B, T, D] and scored [B, T] bool.
  [[nodiscard]] StepResult forward_backward(const at::Tensor& x_BTD,
                                            const at::Tensor& target_BTD,
                                            const at::Tensor& scored_BT,
                                            const StepOptions& options) const;

  /// z-patterns z_ij = A_ij v_j, [queries, T]; 0 after the query's position. Sums over j to z_i. An
  /// SAE's lie at the query's own position.
  [[nodiscard]] at::Tensor z_patterns(const at::Tensor& x_BTD,
                                      const std::vector<PatternQuery>& queries) const;

  /// The same from a pass already made, which projects nothing again. On the CPU in the calling
  /// thread alone.
  [[nodiscard]] at::Tensor z_patterns(const Reading& reading,
                                      const std::vector<PatternQuery>& queries) const;

  /// Natural logarithms of the attention patterns of QK heads first .. first+count-1, [B, count, T,
  /// T] (query, source), -infinity after the query's position. Rows of exp() sum to 1, to less with
  /// virtual keys. For analyses: memory grows with T^2. Throws ConfigError for an SAE, ShapeError
  /// for QK heads out of range.
  [[nodiscard]] at::Tensor qk_log_patterns(const at::Tensor& x_BTD,
                                           int64_t first,
                                           int64_t count) const;

  /// Norms of W_O's rows, [H].
  [[nodiscard]] at::Tensor output_norms() const;

  /// Multiplies W_Q, W_K, W_V by input_scale and divides W_O, b_D and thresholds by target_scale:
  /// the folded model reads and writes raw activations.
  void fold(double input_scale, double target_scale);

  /// With W_V, b_V times |W_O| and W_O over |W_O|: activations are the lengths of the heads'
  /// contributions. Shares all other tensors.
  [[nodiscard]] Dictionary in_unit_form() const;

  /// Moves the weights.
  void to(c10::Device device, at::ScalarType dtype);

  /// Makes a topk or batchtopk Lorsa a jumprelu one with this threshold for all heads: the choice
  /// at a position does not depend on other heads and positions any more. Throws ConfigError for
  /// other activations and thresholds that are not positive.
  void to_jumprelu(double threshold);

 private:
  DictionaryShape shape_;
  DictionaryWeights weights_;
};

}  // namespace lorsa::model
