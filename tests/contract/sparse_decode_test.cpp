#include "contract/samples.h"
#include "support/tensors.h"
#include "support/test.h"

using namespace lorsa;
using namespace lorsa::test;
using kernels::DecodeGradients;
using kernels::DecodeLoss;
using kernels::Selection;

TEST_CASE("sparse_decode equals the dense product", "[kernels][decode]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    for (const DecodeCase& size : decode_cases()) {
      CAPTURE(size.positions, size.heads, size.k, size.width);
      const DecodeSample sample(size, dtype, implementation.device, 11);
      const at::Tensor y = implementation.decode(sample.kept, sample.W_O_HD, sample.b_D);
      REQUIRE(y.scalar_type() == dtype);
      REQUIRE(relative_error(y, sample.expected_y()) <= tolerance(dtype));
      const at::Tensor without_bias = implementation.decode(sample.kept, sample.W_O_HD, {});
      REQUIRE(
          relative_error(without_bias, sample.expected_y() - DecodeSample::in_double(sample.b_D)) <=
          tolerance(dtype));
    }
  });
}

TEST_CASE("sparse_decode_loss gives the squared error and its gradients at scored positions",
          "[kernels][decode]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    for (const DecodeCase& size : decode_cases()) {
      CAPTURE(size.positions, size.heads, size.k, size.width);
      const DecodeSample sample(size, dtype, implementation.device, 12);
      const at::Tensor scored = sample.scored_P.cpu().to(at::kDouble).unsqueeze(1);
      const at::Tensor difference =
          (sample.expected_y() - DecodeSample::in_double(sample.target_PD)) * scored;
      const double expected = difference.square().sum().item<double>();
      for (const at::Tensor& mask : {sample.scored_P, sample.scored_P.to(at::kByte)}) {
        const DecodeLoss loss =
            implementation.decode_loss(sample.kept, sample.W_O_HD, sample.b_D, sample.target_PD,
                                       mask, sample.grad_scale, Selection::kSigned);
        REQUIRE(loss.grad_y_PD.scalar_type() == dtype);
        REQUIRE(relative_error(loss.grad_y_PD, difference * 2.0 * sample.grad_scale) <=
                tolerance(dtype));
        REQUIRE(loss.squared_error.item<double>() == Approx(expected).epsilon(tolerance(dtype)));
        const at::Tensor grad_value = DecodeSample::in_double(loss.grad_y_PD)
                                          .matmul(DecodeSample::in_double(sample.W_O_HD).t())
                                          .gather(1, sample.kept.head_PK.to(at::kCPU, at::kLong));
        REQUIRE(loss.grad_value_PK.scalar_type() == dtype);
        REQUIRE(relative_error(loss.grad_value_PK, grad_value) <= tolerance(dtype));
      }
    }
  });
}

TEST_CASE("sparse_decode_loss of unscored positions is exactly zero", "[kernels][decode]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    for (const int64_t width : {33, 32}) {
      const DecodeSample sample({5, 20, 4, width}, dtype, implementation.device, 13);
      const DecodeLoss loss =
          implementation.decode_loss(sample.kept, sample.W_O_HD, sample.b_D, sample.target_PD,
                                     at::zeros_like(sample.scored_P), 1.0, Selection::kSigned);
      REQUIRE(loss.squared_error.item<double>() == 0.0);
      REQUIRE(loss.grad_y_PD.eq(0).all().item<bool>());
      REQUIRE(loss.grad_value_PK.eq(0).all().item<bool>());
    }
  });
}

TEST_CASE("sparse_decode_loss gives no gradient to what was not kept", "[kernels][decode]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    for (const int64_t width : {33, 32}) {
      DecodeSample sample({12, 50, 6, width}, dtype, implementation.device, 16);
      sample.kept.value_PK.slice(1, 4, 6).fill_(0);  // filled up: kept, but with activation 0
      const auto grad_value = [&](Selection selection) {
        return implementation
            .decode_loss(sample.kept, sample.W_O_HD, sample.b_D, sample.target_PD,
                         at::ones_like(sample.scored_P), 1.0, selection)
            .grad_value_PK;
      };
      const at::Tensor positive = grad_value(Selection::kPositive);
      const at::Tensor with_sign = grad_value(Selection::kSigned);
      REQUIRE(positive.slice(1, 4, 6).eq(0).all().item<bool>());
      REQUIRE(with_sign.slice(1, 4, 6).ne(0).all().item<bool>());
      REQUIRE(at::equal(positive.slice(1, 0, 4), with_sign.slice(1, 0, 4)));
    }
  });
}

TEST_CASE("sparse_decode_backward equals autograd through the dense product", "[kernels][decode]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    for (const DecodeCase& size : decode_cases()) {
      CAPTURE(size.positions, size.heads, size.k, size.width);
      const DecodeSample sample(size, dtype, implementation.device, 14);
      const at::Tensor grad_y =
          normal({size.positions, size.width}, 15, dtype, implementation.device);

      const at::Tensor W_O = DecodeSample::in_double(sample.W_O_HD).clone().requires_grad_(true);
      const at::Tensor b = DecodeSample::in_double(sample.b_D).clone().requires_grad_(true);
      ((sample.dense().matmul(W_O) + b) * DecodeSample::in_double(grad_y)).sum().backward();

      const DecodeGradients gradients =
          implementation.decode_backward(sample.kept, grad_y, size.heads);
      REQUIRE(gradients.grad_W_O_HD.scalar_type() == sum_dtype(dtype));
      REQUIRE(relative_error(gradients.grad_W_O_HD, W_O.grad()) <= tolerance(sum_dtype(dtype)));
      REQUIRE(relative_error(gradients.grad_b_D, b.grad()) <= tolerance(sum_dtype(dtype)));
    }
  });
}

TEST_CASE("sparse_decode_backward gives nothing to what was not kept", "[kernels][decode]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    DecodeSample sample({12, 50, 6, 40}, dtype, implementation.device, 16);
    sample.kept.value_PK.slice(1, 4, 6).fill_(0);  // filled up: kept, but with activation 0
    const at::Tensor grad_y = normal({12, 40}, 17, dtype, implementation.device);
    const at::Tensor grad_W_O =
        implementation.decode_backward(sample.kept, grad_y, 50).grad_W_O_HD.cpu();
    const at::Tensor unkept = sample.dense().eq(0).all(0);
    REQUIRE(unkept.any().item<bool>());
    REQUIRE(grad_W_O.index_select(0, unkept.nonzero().squeeze(1)).eq(0).all().item<bool>());
    REQUIRE(
        grad_W_O.index_select(0, (~unkept).nonzero().squeeze(1)).ne(0).any(1).all().item<bool>());
  });
}

TEST_CASE("sparse_decode_backward sums a head that every position kept", "[kernels][decode]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    const int64_t positions = 3001;
    DecodeSample sample({positions, 9, 2, 24}, dtype, implementation.device, 18);
    sample.kept.head_PK.select(1, 0).fill_(7);
    sample.kept.head_PK.select(1, 1).fill_(2);
    const at::Tensor grad_y = normal({positions, 24}, 19, dtype, implementation.device);
    const at::Tensor expected = sample.dense().t().matmul(DecodeSample::in_double(grad_y));
    const DecodeGradients gradients = implementation.decode_backward(sample.kept, grad_y, 9);
    // Thousands of float additions, one after the other: their roundings add like a random walk.
    const double loose = 20 * tolerance(sum_dtype(dtype));
    REQUIRE(relative_error(gradients.grad_W_O_HD, expected) <= loose);
    REQUIRE(relative_error(gradients.grad_b_D, DecodeSample::in_double(grad_y).sum(0)) <= loose);
  });
}

TEST_CASE("gradients of the decode agree with central differences", "[kernels][decode]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    if (dtype != at::kDouble) {
      SUCCEED("differences need double");
      return;
    }
    DecodeSample sample({4, 6, 3, 5}, dtype, implementation.device, 20);
    sample.kept.value_PK.select(1, 2).fill_(0);
    const auto loss = [&] {
      return implementation.decode_loss(sample.kept, sample.W_O_HD, sample.b_D, sample.target_PD,
                                        sample.scored_P, sample.grad_scale, Selection::kSigned);
    };
    const DecodeLoss exact = loss();
    const DecodeGradients gradients =
        implementation.decode_backward(sample.kept, exact.grad_y_PD, 6);
    const auto check = [&](const at::Tensor& input, const at::Tensor& gradient) {
      const double step = 1e-5;
      at::Tensor flat = input.view(-1);
      for (int64_t i = 0; i < flat.numel(); ++i) {
        const double at_centre = flat[i].item<double>();
        flat[i].fill_(at_centre + step);
        const double above = loss().squared_error.item<double>();
        flat[i].fill_(at_centre - step);
        const double below = loss().squared_error.item<double>();
        flat[i].fill_(at_centre);
        const double difference = (above - below) / (2 * step) * sample.grad_scale;
        REQUIRE(gradient.view(-1)[i].item<double>() ==
                Approx(difference).epsilon(1e-6).margin(1e-9));
      }
    };
    check(sample.kept.value_PK, exact.grad_value_PK);
    check(sample.W_O_HD, gradients.grad_W_O_HD);
    check(sample.b_D, gradients.grad_b_D);
  });
}

TEST_CASE("scatter_kept puts gradients at their heads and zero elsewhere", "[kernels][decode]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    for (const DecodeCase& size : decode_cases()) {
      CAPTURE(size.positions, size.heads, size.k);
      const DecodeSample sample(size, dtype, implementation.device, 21);
      const at::Tensor out =
          implementation.scatter(sample.kept.value_PK, sample.kept.head_PK, size.heads);
      REQUIRE(out.scalar_type() == dtype);
      REQUIRE(at::equal(DecodeSample::in_double(out), sample.dense()));
    }
  });
}

TEST_CASE("scatter_kept lets a head occur again with gradient zero", "[kernels][decode]") {
  for_each_implementation([](const Implementation& implementation, at::ScalarType dtype) {
    const at::Tensor head =
        at::tensor({3, 1, 3, 0, 2, 0}).view({2, 3}).to(implementation.device, at::kInt);
    const at::Tensor grad =
        at::tensor({2.0, 5.0, 0.0, 0.0, -1.0, 4.0}).view({2, 3}).to(implementation.device, dtype);
    const at::Tensor expected =
        at::tensor({0.0, 5.0, 0.0, 2.0, 4.0, 0.0, -1.0, 0.0}, at::kDouble).view({2, 4});
    const at::Tensor out = implementation.scatter(grad, head, 4);
    REQUIRE(at::equal(DecodeSample::in_double(out), expected));
  });
}
