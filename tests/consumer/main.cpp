// A program outside the project: a Lorsa of four heads that read the mean of x and write along the
// first axis. One head acts at the only position, so y is 8 * 0.5 there and 0 elsewhere.
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <lorsa/model/dictionary.h>

#include <cstdio>

int main() {
  lorsa::model::DictionaryWeights weights;
  weights.W_Q = weights.W_K = at::zeros({4, 8});
  weights.b_Q = weights.b_K = at::zeros({2, 2});
  weights.W_V = at::full({4, 8}, 0.5);
  weights.b_V = at::zeros({4});
  weights.W_O = at::zeros({4, 8});
  weights.W_O.select(1, 0).fill_(1.0);
  weights.b_D = at::zeros({8});
  lorsa::model::DictionaryShape shape;
  shape.d_model = 8;
  shape.num_ov_heads = 4;
  shape.num_qk_heads = shape.d_qk = 2;
  shape.top_k = 1;
  const lorsa::model::Dictionary dictionary(shape, weights);
  const at::Tensor y_BTD = dictionary.reconstruct(at::ones({1, 1, 8})).y_BTD;
  std::printf("y = %g, %g\n", y_BTD.data_ptr<float>()[0], y_BTD.data_ptr<float>()[1]);
}
