#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "lorsa/core/error.h"
#include "lorsa/core/seed.h"
#include "model/kind.h"
#include "torch_private/cpu_generator.h"

namespace lorsa::model {
namespace {

constexpr std::array<const Kind*, 3> kKinds = {&kLorsa, &kSae, &kTranscoder};

/// Of the variance, inside which rows start.
constexpr double kActiveShare = 0.95;

}  // namespace

const std::vector<KindInfo>& kinds() {
  static const std::vector<KindInfo> all = [] {
    std::vector<KindInfo> infos;
    for (const Kind* kind : kKinds) {
      infos.push_back(kind->info);
    }
    return infos;
  }();
  return all;
}

const Kind& kind_of(const std::string& name) {
  const auto found = std::find_if(kKinds.begin(), kKinds.end(),
                                  [&](const Kind* kind) { return kind->info.name == name; });
  std::string known;
  for (const Kind* kind : kKinds) {
    known += formatted("{}{}", known.empty() ? "" : ", ", kind->info.name);
  }
  LORSA_CHECK(found != kKinds.end(), ConfigError, "kind: expected one of {}; found {}", known,
              name);
  return **found;
}

const KindInfo& kind_info(const std::string& name) {
  return kind_of(name).info;
}

std::string name_in_file(const DictionaryShape& shape, const std::string& name) {
  if (!kind_of(shape.kind).has_field_names) {
    return name;
  }
  return name == "W_V"   ? "W_enc"
         : name == "b_V" ? "b_enc"
         : name == "W_O" ? "W_dec"
         : name == "b_D" ? "b_dec"
                         : name;
}

at::Generator stream(uint64_t seed, const char* name) {
  return torch_private::cpu_generator(stream_seed(seed, name));
}

at::Tensor unit_rows(const at::Tensor& x) {
  return x / at::linalg_vector_norm(x, 2, at::IntArrayRef{1}, /*keepdim=*/true).clamp_min(1e-30);
}

at::Tensor start_rows(OvInit ov,
                      const at::Tensor& x_BTD,
                      const at::Tensor& scored_BT,
                      int64_t n,
                      const at::Generator& random) {
  const int64_t D = x_BTD.size(-1);
  at::Tensor rows = at::empty({n, D}).normal_(0.0, 1.0, random);
  if (ov == OvInit::kActiveSubspace) {
    const at::Tensor x_nD = x_BTD.reshape({-1, D}).index({scored_BT.reshape({-1})}).to(at::kDouble);
    const at::Tensor centred = x_nD - x_nD.mean(0);
    const auto [values, vectors] = at::linalg_eigh(at::mm(centred.t(), centred), "L");
    const at::Tensor held = values.flip(0).cumsum(0) / values.sum();
    const int64_t kept = std::min((held < kActiveShare).sum().item<int64_t>() + 1, D);
    const at::Tensor basis = vectors.flip(1).narrow(1, 0, kept).to(at::kFloat);
    rows = at::mm(at::mm(rows, basis), basis.t());
  }
  return unit_rows(rows).contiguous();
}

}  // namespace lorsa::model
