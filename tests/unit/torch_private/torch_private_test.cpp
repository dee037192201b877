// One case for each thing that LibTorch does not promise (src/torch_private/README.md): what fails
// here after an upgrade has changed. Where other tests fail too, this is the cause.
#include <ATen/ATen.h>

#include <array>
#include <cstring>
#include <map>
#include <string>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <vector>

#include "model/pickle_filter.h"
#include "support/tensors.h"
#include "support/test.h"
#include "torch_private/archive.h"
#include "torch_private/brgemm.h"
#include "torch_private/cpu_generator.h"
#include "torch_private/fused_attention.h"
#include "torch_private/one_thread_blas.h"
#include "torch_private/out_of_memory.h"
#include "torch_private/packed_linear.h"
#include "torch_private/whole_sums.h"

using namespace lorsa;

namespace {

// What to do stands in the header.
#define LORSA_SEE(header) INFO("LibTorch has changed this: see src/torch_private/" header)

std::string names_of(const std::vector<c10::Argument>& arguments) {
  std::string names;
  for (const c10::Argument& argument : arguments) {
    names += names.empty() ? "" : " ";
    names += argument.name().empty() ? "-" : argument.name();
  }
  return names;
}

}  // namespace

TEST_CASE("at::native::cpublas::brgemm replaces or adds a product with strides", "[torch]") {
  LORSA_SEE("brgemm.h");
  const at::Tensor a = at::arange(3 * 6, at::kFloat).view({3, 6});
  const at::Tensor b = at::arange(4 * 8, at::kFloat).view({4, 8}) - 11.0;
  for (const bool adds : {false, true}) {
    at::Tensor c = at::full({3, 7}, 2.0F);
    at::Tensor expected = c.clone();
    expected.narrow(1, 0, 5).copy_(at::mm(a.narrow(1, 0, 4), b.narrow(1, 0, 5)) +
                                   (adds ? 2.0 : 0.0));
    torch_private::brgemm(3, 5, 4, 6, 8, 7, adds, a.const_data_ptr<float>(),
                          b.const_data_ptr<float>(), c.mutable_data_ptr<float>());
    CHECK(at::equal(c, expected));
  }
}

TEST_CASE("mkldnn::_reorder_linear_weight and mkldnn::_linear_pointwise are at::linear",
          "[torch]") {
  LORSA_SEE("packed_linear.h");
  REQUIRE(at::hasMKLDNN());
  at::Generator random = torch_private::cpu_generator(1);
  const at::Tensor weight = at::randn({70, 90}, random);
  const at::Tensor x = at::randn({2, 5, 90}, random);
  const at::Tensor packed = torch_private::pack_weight(weight);
  CHECK(at::equal(packed.to_dense(), weight));
  for (const at::Tensor& bias : {at::Tensor(), at::randn({70}, random)}) {
    CHECK(test::relative_error(torch_private::packed_linear(x, packed, bias),
                               at::linear(x, weight, bias)) < 1e-6);
  }
}

TEST_CASE("at::detail::createCPUGenerator draws what torch.Generator().manual_seed() draws",
          "[torch]") {
  LORSA_SEE("cpu_generator.h");
  // torch.randint(0, 2**31, (3,)), then .normal_() of 3 and of 16 numbers, PyTorch 2.11, seed 5.
  CHECK(
      at::equal(at::randint(int64_t{1} << 31, {3}, torch_private::cpu_generator(5)),
                at::tensor({236996814.0, 1423042237.0, 1562238070.0}, at::kDouble).to(at::kFloat)));
  const auto normal = [](int64_t count) {
    return at::empty({count}).normal_(0.0, 1.0, torch_private::cpu_generator(5)).narrow(0, 0, 2);
  };
  CHECK(test::relative_error(normal(3), at::tensor({-0.48678076267, -0.60382157564})) < 1e-6);
  CHECK(test::relative_error(normal(16), at::tensor({1.84232985973, 0.51888716221})) < 1e-6);
}

TEST_CASE("PyTorchStreamReader and torch::jit::Unpickler read what torch.save wrote", "[torch]") {
  LORSA_SEE("archive.h");
  torch_private::Archive archive(test::golden("interchange/original-relu/final.pth").string());
  CHECK(archive.has("data.pkl"));
  CHECK_FALSE(archive.has("data.json"));
  const auto [data, size] = archive.record("data.pkl");
  const std::string pickle(static_cast<const char*>(data.get()), size);
  const auto storage = [&](const std::string& name) {
    return std::get<0>(archive.record("data/" + name));
  };
  const c10::IValue value = torch_private::unpickle(model::with_plain_dicts(pickle), storage);
  REQUIRE(value.isTuple());
  const at::Tensor W_Q = value.toTupleRef().elements().at(0).toGenericDict().at("W_Q").toTensor();
  CHECK(W_Q.sizes() == at::IntArrayRef({3, 10, 8}));
  const at::DataPtr first = storage("0");
  CHECK(std::memcmp(W_Q.const_data_ptr(), first.get(), W_Q.nbytes()) == 0);
  CHECK(std::get<1>(archive.record("data/0")) == W_Q.nbytes());
  // Where this gives a dict, model/pickle_filter.h may go.
  CHECK_THROWS_AS(torch_private::unpickle(pickle, storage), c10::Error);
}

TEST_CASE("at::detail::computeStorageNbytes counts to the last byte that is reached", "[torch]") {
  LORSA_SEE("archive.h");
  const at::Tensor x = at::arange(40, at::kFloat);
  CHECK(torch_private::bytes_reached(x.as_strided({3, 2}, {10, 4}, 5)) == 4 * (5 + 24 + 1));
}

TEST_CASE("the CPU allocator says that it found no memory", "[torch]") {
  LORSA_SEE("out_of_memory.h");
  const auto found = [](int64_t floats) {
    try {
      static_cast<void>(at::empty({floats}));
    } catch (const std::exception& error) {
      return torch_private::is_cpu_out_of_memory(error);
    }
    return false;
  };
  CHECK(found(int64_t{1} << 58));
  CHECK_FALSE(found(-1));
}

TEST_CASE("at::_scaled_dot_product_*_attention take and give what they did", "[torch]") {
  LORSA_SEE("fused_attention.h");
  // What they compute is compared on a device: tests/gpu/attention_test.cpp.
  const std::map<std::string, std::array<std::string, 2>> expected = {
      {"cudnn_attention",
       {"query key value attn_bias compute_log_sumexp dropout_p is_causal return_debug_mask scale",
        "output logsumexp cum_seq_q cum_seq_k max_q max_k philox_seed philox_offset "
        "debug_attn_mask"}},
      {"flash_attention",
       {"query key value dropout_p is_causal return_debug_mask scale",
        "output logsumexp cum_seq_q cum_seq_k max_q max_k rng_state unused debug_attn_mask"}},
      {"efficient_attention",
       {"query key value attn_bias compute_log_sumexp dropout_p is_causal scale",
        "output log_sumexp philox_seed philox_offset"}},
      {"cudnn_attention_backward",
       {"grad_out query key value out logsumexp philox_seed philox_offset attn_bias cum_seq_q "
        "cum_seq_k max_q max_k dropout_p is_causal scale",
        "- - -"}},
      {"flash_attention_backward",
       {"grad_out query key value out logsumexp cum_seq_q cum_seq_k max_q max_k dropout_p "
        "is_causal philox_seed philox_offset scale",
        "grad_query grad_key grad_value"}},
      {"efficient_attention_backward",
       {"grad_out_ query key value attn_bias out logsumexp philox_seed philox_offset dropout_p "
        "grad_input_mask is_causal scale",
        "- - - -"}}};
  for (const auto& [name, words] : expected) {
    CAPTURE(name);
    const c10::FunctionSchema& schema =
        c10::Dispatcher::singleton()
            .findSchemaOrThrow(("aten::_scaled_dot_product_" + name).c_str(), "")
            .schema();
    CHECK(names_of(schema.arguments()) == words[0]);
    CHECK(names_of(schema.returns()) == words[1]);
  }
}

TEST_CASE("MKL_Set_Num_Threads_Local is there and held to one thread", "[torch]") {
  LORSA_SEE("one_thread_blas.h");
  REQUIRE((MKL_Set_Num_Threads_Local != nullptr) == at::hasMKL());
  if (at::hasMKL()) {
    const torch_private::OneThreadBlas one_thread;
    CHECK(MKL_Set_Num_Threads_Local(1) == 1);
  }
}

TEST_CASE("at::Context says how bfloat16 products are summed and takes it back", "[torch]") {
  LORSA_SEE("whole_sums.h");
  using Option = at::CuBLASReductionOption;
  at::Context& context = at::globalContext();
  for (const auto& [reduced, split] : {std::pair(true, true), {false, true}, {false, false}}) {
    context.setAllowBF16ReductionCuBLAS(reduced, split);
    const Option before = context.allowBF16ReductionCuBLAS();
    {
      const torch_private::WholeSums whole_sums;
      CHECK(context.allowBF16ReductionCuBLAS() == Option::DisallowReducedPrecisionAllowSplitK);
    }
    CHECK(context.allowBF16ReductionCuBLAS() == before);
  }
  context.setAllowBF16ReductionCuBLAS(true);
}

TEST_CASE("c10d::TCPStore serves keys to clones of a connection and c10d::PrefixStore", "[torch]") {
  INFO("LibTorch has changed this: see src/dist/job_store.cpp and, for NCCL, src/dist/nccl.cpp");
  c10d::TCPStoreOptions options;
  options.port = 0;
  options.isServer = true;
  options.waitWorkers = false;
  const auto connection = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
  c10d::PrefixStore here("a", connection);
  c10d::PrefixStore there("a", connection->clone());
  here.set("key", std::vector<uint8_t>{1, 2});
  CHECK(there.get("key") == std::vector<uint8_t>{1, 2});
  // Set by the first alone.
  there.compareSet("first", std::vector<uint8_t>(), std::vector<uint8_t>{3});
  here.compareSet("first", std::vector<uint8_t>(), std::vector<uint8_t>{4});
  CHECK(there.get("first") == std::vector<uint8_t>{3});
  CHECK_FALSE(c10d::PrefixStore("b", connection).check({"key"}));
}
