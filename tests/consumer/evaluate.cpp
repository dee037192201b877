// A program outside the project that evaluates dictionaries in memory: the Lorsa that a cached
// layer is, and the same with one head in four kept.
#include <lorsa/data/cache_reader.h>
#include <lorsa/eval/evaluate.h>
#include <lorsa/model/initialize.h>

#include <iostream>

int main(int argc, char** argv) {
  lorsa::eval::EvalOptions options;
  options.cache = argc > 1 ? argv[1] : "quickstart/cache/layer-17";
  options.device = "cpu";
  const lorsa::data::CacheReader cache(options.cache);
  const lorsa::model::Dictionary exact = lorsa::model::of_attention(cache.attention());
  lorsa::model::DictionaryShape shape = exact.shape();
  shape.top_k = shape.num_ov_heads / 4;
  const auto reports = lorsa::eval::evaluate_dictionaries(
      options, {{"the layer itself", exact}, {"a quarter of it", {shape, exact.weights()}}});
  std::cout << to_table(reports);
  return reports[0].reconstruction.fvu < reports[1].reconstruction.fvu ? 0 : 1;
}
