#pragma once

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/unpickler.h>

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <tuple>

// What reads the zip archives of torch.save(). Checked with LibTorch 2.11. If it goes: torch::jit's
// pickle_load reads whole archives, but not Python's state dicts (model/pickle_filter.h); or a zip
// reader and unpickler of our own.

namespace lorsa::torch_private {

/// An archive's records: caffe2::serialize::PyTorchStreamReader.
class Archive {
 public:
  explicit Archive(const std::string& path) : reader_(path) {}

  [[nodiscard]] bool has(const std::string& name) { return reader_.hasRecord(name); }

  [[nodiscard]] std::tuple<at::DataPtr, size_t> record(const std::string& name) {
    return reader_.getRecord(name);
  }

 private:
  caffe2::serialize::PyTorchStreamReader reader_;
};

/// What a pickle says, on the CPU; `storage` gives the bytes of the storage called so. Builds
/// tensors and plain containers only: torch::jit::Unpickler without resolver runs no code.
inline c10::IValue unpickle(std::string_view pickle,
                            const std::function<at::DataPtr(const std::string&)>& storage) {
  const auto read = [&](char* buffer, size_t length) {
    const size_t taken = std::min(length, pickle.size());
    std::copy_n(pickle.data(), taken, buffer);
    pickle.remove_prefix(taken);
    return taken;
  };
  torch::jit::Unpickler unpickler(read, /*type_resolver=*/nullptr, /*obj_loader=*/nullptr, storage,
                                  c10::Device(c10::kCPU));
  return unpickler.parse_ivalue();
}

/// Bytes of a storage up to the last that the tensor reaches; throws c10::Error where that is no
/// number: at::detail::computeStorageNbytes.
inline size_t bytes_reached(const at::Tensor& tensor) {
  return at::detail::computeStorageNbytes(tensor.sizes(), tensor.strides(), tensor.itemsize(),
                                          static_cast<size_t>(tensor.storage_offset()));
}

}  // namespace lorsa::torch_private
