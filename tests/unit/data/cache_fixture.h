#pragma once

#include <ATen/ATen.h>

#include <fstream>
#include <map>
#include <string>

#include "lorsa/data/cache_reader.h"
#include "lorsa/data/cache_writer.h"
#include "lorsa/io/checksum.h"
#include "lorsa/io/files.h"
#include "support/throws.h"
#include "torch_private/cpu_generator.h"

namespace lorsa::data::test_cache {

inline constexpr int64_t kLength = 5;
inline constexpr int64_t kWidth = 16;
inline constexpr int64_t kRowsPerShard = 4;

inline Manifest plan(StoreMode store = StoreMode::kInputAndTarget,
                     StoreDtype dtype = StoreDtype::kBFloat16) {
  Manifest manifest;
  manifest.model_name = "tiny";
  manifest.architecture = "LlamaForCausalLM";
  manifest.weights_sha256 = std::string(64, 'a');
  manifest.site.layer = 2;
  manifest.input_convention = "rms_normalized";
  manifest.store = store;
  manifest.dtype = dtype;
  manifest.context_length = kLength;
  manifest.d_model = kWidth;
  manifest.packing = "pack";
  manifest.unscored_ids = {0, 1};
  manifest.corpus_digests = {"corpus.jsonl xxh3:0123456789abcdef"};
  manifest.config_yaml = "layers: [2]\ndata:\n  max_tokens: 1000\n";
  return manifest;
}

inline kernels::Mhsa attention() {
  at::manual_seed(5);
  kernels::Mhsa layer;
  layer.W_Q = at::randn({4, kWidth, 4});
  layer.W_K = at::randn({2, kWidth, 4});
  layer.W_V = at::randn({2, kWidth, 4});
  layer.W_O = at::randn({4, 4, kWidth});
  layer.attn_scale = 2.0;
  layer.rope.rotary_dim = 4;
  return layer;
}

/// Row r depends on r alone. Every fourth row is held out; position 0 is BOS, some others EOS.
inline RowBlock rows(int64_t first, int64_t count) {
  RowBlock block;
  block.input_BTD = at::empty({count, kLength, kWidth});
  block.target_BTD = at::empty({count, kLength, kWidth});
  block.tokens_BT = at::empty({count, kLength}, at::kInt);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = first + i;
    at::Generator generator = lorsa::torch_private::cpu_generator(static_cast<uint64_t>(row) + 100);
    block.input_BTD[i].copy_(at::randn({kLength, kWidth}, generator));
    block.target_BTD[i].copy_(at::randn({kLength, kWidth}, generator) * 3 + 1);
    block.tokens_BT[i].copy_((at::arange(kLength) * 7 + row) % 50 + 1);
    block.tokens_BT[i][0] = 0;
    block.document.push_back(1000 + row);
    block.heldout.push_back(row % 4 == 3 ? 1 : 0);
  }
  block.scored_BT = block.tokens_BT.gt(1);
  return block;
}

/// A finished cache of rows 0 .. count-1.
inline void write_cache(const std::filesystem::path& folder,
                        int64_t count,
                        const Manifest& manifest = plan()) {
  CacheWriter writer(folder, manifest, attention(), kRowsPerShard);
  writer.append(rows(0, count));
  writer.finish();
}

/// Name and digest of every file in a folder.
inline std::map<std::string, std::string> contents(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    files[entry.path().filename().string()] = io::file_xxh3(entry.path());
  }
  return files;
}

/// Replaces a part of a text file that occurs in it.
inline void edit(const std::filesystem::path& path,
                 const std::string& from,
                 const std::string& to) {
  std::string text = io::read_file(path);
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  io::write_file(path, text.replace(at, from.size(), to));
}

/// edit() of a file with a "file_checksum", which is made right again.
inline void edit_sealed(const std::filesystem::path& path,
                        const std::string& from,
                        const std::string& to) {
  edit(path, from, to);
  std::string text = io::read_file(path);
  const size_t digits = text.rfind("xxh3:") + 5;
  text.replace(digits, 16, 16, '0');
  text.replace(digits, 16, io::xxh3_text(io::xxh3(text.data(), text.size())).substr(5));
  io::write_file(path, text);
}

/// Flips one bit of the first occurrence of `bytes` in a file, which stays the same file.
inline void flip_bit(const std::filesystem::path& path, const std::string& bytes) {
  std::string content = io::read_file(path);
  const size_t at = content.find(bytes);
  REQUIRE(at != std::string::npos);
  const size_t flipped = at + bytes.size() / 2;
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(flipped));
  file.put(static_cast<char>(content[flipped] ^ 0x10));
  REQUIRE(file.flush().good());
}

/// The bytes of a contiguous CPU tensor.
inline std::string bytes_of(const at::Tensor& tensor) {
  const at::Tensor whole = tensor.contiguous();
  return {static_cast<const char*>(whole.const_data_ptr()), whole.nbytes()};
}

}  // namespace lorsa::data::test_cache
