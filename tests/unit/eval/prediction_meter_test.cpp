#include "eval/prediction_meter.h"

#include <ATen/ATen.h>

#include "lorsa/io/safetensors.h"
#include "support/test.h"

using namespace lorsa;

namespace {

constexpr double kMeterTolerance = 1e-6;

}  // namespace

TEST_CASE("cross-entropies and kl of saved logits agree with numpy", "[eval]") {
  const io::SafetensorsReader file(test::golden("metrics/predictions.safetensors"));
  const at::Tensor tokens_BT = file.read("tokens");
  const at::Tensor scored_BT = file.read("scored").to(at::kBool);
  eval::PredictionMeter meter(2);
  for (int64_t b = 0; b < tokens_BT.size(0); ++b) {
    const auto logits = [&](const std::string& name) {
      return [row_TV = file.read("logits." + name)[b]](const at::Tensor& position_n) {
        return row_TV.index({position_n});
      };
    };
    meter.add_row(tokens_BT[b], scored_BT[b],
                  {logits("original"),
                   logits("zero_ablated"),
                   logits("mean_ablated"),
                   {logits("original"), logits("replaced")}});
  }
  const eval::LanguageReport own = meter.reports().at(0);
  CHECK(own.ce_replaced == own.ce_original);
  CHECK(own.kl == 0.0);
  CHECK(own.ce_recovered == 1.0);
  const eval::LanguageReport r = meter.reports().at(1);
  const auto expected = [&](const char* name) {
    return Approx(file.read(name).item<double>()).epsilon(kMeterTolerance);
  };
  CHECK(r.num_predictions == file.read("num_predictions").item<int64_t>());
  CHECK(r.ce_original == expected("ce_original"));
  CHECK(r.ce_replaced == expected("ce_replaced"));
  CHECK(r.ce_zero_ablated == expected("ce_zero_ablated"));
  CHECK(r.ce_mean_ablated == expected("ce_mean_ablated"));
  CHECK(r.ce_recovered == expected("ce_recovered"));
  CHECK(r.kl == expected("kl"));
}

TEST_CASE("a row of many logits is taken in slices", "[eval]") {
  // 2^22 words: two positions a slice.
  const int64_t vocabulary = int64_t{1} << 22;
  int64_t asked = 0;
  int64_t most = 0;
  const auto uniform = [&](const at::Tensor& position_n) {
    ++asked;
    most = std::max(most, position_n.numel());
    return at::zeros({position_n.numel(), vocabulary});
  };
  eval::PredictionMeter meter(1);
  meter.add_row(at::arange(6, at::kInt), at::ones({6}, at::kBool),
                {uniform, uniform, uniform, {uniform}});
  CHECK(most == 2);
  CHECK(asked == 1 + 3 * 4);
  CHECK(meter.reports().at(0).num_predictions == 5);
  CHECK(meter.reports().at(0).ce_replaced == Approx(std::log(static_cast<double>(vocabulary))));
}
