#include "kernels/cpu/top_k.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <utility>

#include "kernels/checks.h"
#include "kernels/cuda_backend.h"
#include "kernels/part_timer.h"
#include "lorsa/kernels/sparse.h"

namespace lorsa::kernels {
namespace {

// A row of 2304 heads takes about a microsecond: less than this many scores is not worth a thread.
constexpr int64_t kGrainScores = 32768;

[[noreturn]] void throw_invalid(int64_t position, int64_t head, double z, double norm) {
  throw Error(
      formatted("top_k_heads: the score of position {}, head {} is not a number >= 0: z = {}, norm "
                "of W_O's row = {}",
                position, head, z, norm));
}

template <typename T>
TopK top_k_cpu(const at::Tensor& z_PH, const at::Tensor& norm_H, int64_t k, Selection selection) {
  const TopKShape shape{z_PH.size(0), z_PH.size(1), k, z_PH.stride(0)};
  TopK kept{at::empty({shape.positions, k}, z_PH.options()),
            at::empty({shape.positions, k}, z_PH.options().dtype(at::kInt))};
  const T* z = z_PH.const_data_ptr<T>();
  const T* norm = norm_H.const_data_ptr<T>();
  T* value = kept.value_PK.mutable_data_ptr<T>();
  int32_t* head = kept.head_PK.mutable_data_ptr<int32_t>();
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  std::atomic<int64_t> first_invalid{kNone};
  const int64_t grain = std::max<int64_t>(1, kGrainScores / shape.heads);
  at::parallel_for(0, shape.positions, grain, [&](int64_t begin, int64_t end) {
    const int64_t invalid = cpu::top_k_rows(z, norm, shape, selection, begin, end, value, head);
    // The lowest index of all threads, so that the message does not depend on their number.
    for (int64_t seen = first_invalid.load();
         invalid >= 0 && invalid < seen && !first_invalid.compare_exchange_weak(seen, invalid);) {
    }
  });
  const int64_t invalid = first_invalid.load();
  if (invalid != kNone) {
    const int64_t p = invalid / shape.heads;
    const int64_t h = invalid % shape.heads;
    throw_invalid(p, h, double{z[p * shape.z_stride + h]}, double{norm[h]});
  }
  return kept;
}

}  // namespace

void check_scores(const at::Tensor& first_invalid) {
  if (!first_invalid.defined()) {
    return;
  }
  const at::Tensor host = first_invalid.cpu().contiguous();
  const double* found = host.const_data_ptr<double>();
  if (found[0] >= 0) {
    throw_invalid(static_cast<int64_t>(found[0]), static_cast<int64_t>(found[1]), found[2],
                  found[3]);
  }
}

TopK top_k_heads(const at::Tensor& z_PH,
                 const at::Tensor& norm_H,
                 int64_t k,
                 Selection selection,
                 ScoreCheck check) {
  const PartTimer timer(Part::kTopK);
  check_floating(z_PH, "z_PH");
  LORSA_CHECK(z_PH.dim() == 2, ShapeError, "z_PH has shape {}, expected [P, H]", z_PH.sizes());
  const int64_t heads = z_PH.size(1);
  LORSA_CHECK(heads <= std::numeric_limits<int32_t>::max(), ShapeError, "too many heads: {}",
              heads);
  LORSA_CHECK(k >= 1 && k <= heads, ShapeError, "top_k = {}, expected 1 to {} heads", k, heads);
  LORSA_CHECK(z_PH.size(0) == 0 || heads == 1 || z_PH.stride(1) == 1, ShapeError,
              "the heads of z_PH are strided by {}; call contiguous() first", z_PH.stride(1));
  check_tensor(norm_H, "norm_H", {heads}, sum_dtype(z_PH.scalar_type()), z_PH.device());
  if (runs_on_device(z_PH)) {
    TopK kept = cuda_backend().top_k_heads(z_PH, norm_H, k, selection);
    if (check == ScoreCheck::kNow) {
      check_scores(std::exchange(kept.first_invalid, {}));
    }
    return kept;
  }
  if (rounds_on_cpu(z_PH)) {
    TopK kept = top_k_heads(z_PH.to(at::kFloat), norm_H, k, selection, check);
    kept.value_PK = kept.value_PK.to(at::kBFloat16);  // exact: they are z's own values
    return kept;
  }
  return z_PH.scalar_type() == at::kFloat ? top_k_cpu<float>(z_PH, norm_H, k, selection)
                                          : top_k_cpu<double>(z_PH, norm_H, k, selection);
}

}  // namespace lorsa::kernels
