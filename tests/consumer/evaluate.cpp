// A program outside the project that evaluates dictionaries in memory: the Lorsa that a cached
// layer is, and the same with one head in four kept.
#include <lorsa/eval/evaluate.h>
#include <lorsa/model/initialize.h>

#include <iostream>

int main(int argc, char** argv) {
  lorsa::study::Study study("cpu");
  study.open_cache(argc > 1 ? argv[1] : "quickstart/cache/layer-17");
  const lorsa::model::Dictionary exact = lorsa::model::of_attention(study.cache().attention());
  lorsa::model::DictionaryShape shape = exact.shape();
  shape.top_k = shape.num_ov_heads / 4;
  study.add("the layer itself", exact);
  study.add("a quarter of it", {shape, exact.weights()});
  const auto reports = lorsa::eval::evaluate(study, {});
  std::cout << to_table(reports);
  return reports[0].reconstruction.fvu < reports[1].reconstruction.fvu ? 0 : 1;
}
