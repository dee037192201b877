#include "analysis/delphi_export.h"

#include <c10/util/Half.h>

#include <algorithm>
#include <array>
#include <system_error>

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"

namespace lorsa::analysis {
namespace {

namespace fs = std::filesystem;

// delphi takes 16 bits where rows and heads of a split are fewer than this.
constexpr int64_t kNarrow = 1 << 16;
constexpr float kLargestHalf = 65504.0F;

fs::path pending_path(const DelphiPlan& plan) {
  return io::beside(plan.folder / plan.module, ".tmp");
}

template <typename T>
void append(std::vector<char>& bytes, T value) {
  const char* first = reinterpret_cast<const char*>(&value);
  bytes.insert(bytes.end(), first, first + sizeof(T));
}

void write(std::ofstream& file, std::vector<char>& bytes, const fs::path& folder) {
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  LORSA_CHECK(file.good(), IoError, "{}: cannot write", folder);
  bytes.clear();
}

/// Copies a file behind `out`.
void append_file(std::ofstream& out, const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::array<char, 1 << 16> buffer;
  while (in.read(buffer.data(), buffer.size()) || in.gcount() > 0) {
    out.write(buffer.data(), in.gcount());
  }
  LORSA_CHECK(in.eof() && out.good(), IoError, "{}: cannot copy", path);
}

bool is_export(const fs::path& folder) {
  return fs::is_directory(folder) &&
         (fs::is_empty(folder) || (fs::exists(folder / "config.json") &&
                                   io::read_json(folder / "config.json").contains("lorsa")));
}

/// True if an unfinished export may have left this.
bool is_leftover_export(const fs::path& folder) {
  const auto of_export = [](const fs::directory_entry& entry) {
    const std::string extension = entry.path().extension().string();
    const std::string name = entry.path().filename().string();
    return extension == ".locations" || extension == ".values" || name == "tokens" ||
           name.find(".safetensors") != std::string::npos || name.rfind("config.json", 0) == 0;
  };
  return fs::is_directory(folder) &&
         std::all_of(fs::directory_iterator(folder), fs::directory_iterator(), of_export);
}

}  // namespace

DelphiExport::DelphiExport(const DelphiPlan& plan, const std::vector<int64_t>& written)
    : plan_(plan),
      final_(plan.folder / plan.module),
      wide_(plan.num_rows > kNarrow || plan.context_length > kNarrow ||
            plan.num_heads > kNarrow * plan.num_splits),
      split_of_head_(static_cast<size_t>(plan.num_heads)) {
  LORSA_CHECK(!fs::exists(final_) || is_export(final_), ConfigError,
              "{}: exists and is no export of heads; give another `delphi`", final_);
  const fs::path pending = pending_path(plan);
  LORSA_CHECK(!fs::exists(pending) || is_leftover_export(pending), ConfigError,
              "{}: is in the way and holds other files; remove it or change `delphi`", pending);
  if (written.empty()) {
    io::remove_tree(pending);
  }
  pending_ = std::make_unique<io::PendingFolder>(final_, io::PendingFolder::Leftover::kContinue);
  if (!written.empty()) {
    pending_->keep_unfinished();
    LORSA_CHECK(static_cast<int64_t>(written.size()) == plan.num_splits + 1, FormatError,
                "{}: expected {} splits, found {}", pending, plan.num_splits, written.size() - 1);
    rows_ = written.front();
  }
  splits_.resize(static_cast<size_t>(plan.num_splits));
  for (int64_t i = 0; i < plan.num_splits; ++i) {
    Split& split = splits_[static_cast<size_t>(i)];
    split.begin = i * plan.num_heads / plan.num_splits;
    split.end = (i + 1) * plan.num_heads / plan.num_splits;
    split.activations = written.empty() ? 0 : written[static_cast<size_t>(i) + 1];
    std::fill(split_of_head_.begin() + split.begin, split_of_head_.begin() + split.end,
              static_cast<int32_t>(i));
    open(split.locations, spill(split, ".locations"), split.activations * (wide_ ? 12 : 6));
    open(split.values, spill(split, ".values"), split.activations * 2);
  }
  open(tokens_, pending_->path() / "tokens", rows_ * plan.context_length * 4);
}

bool DelphiExport::is_unfinished(const DelphiPlan& plan) {
  return fs::exists(pending_path(plan) / "tokens");
}

fs::path DelphiExport::spill(const Split& split, const char* what) const {
  return pending_->path() / formatted("{}_{}{}", split.begin, split.end - 1, what);
}

void DelphiExport::open(std::ofstream& file, const fs::path& path, int64_t bytes) const {
  if (bytes > 0) {
    // What came behind the state that is gone on with will come again.
    std::error_code error;
    const auto found = fs::file_size(path, error);
    LORSA_CHECK(!error && found >= static_cast<uintmax_t>(bytes), FormatError,
                "{}: expected at least {} bytes; begin anew with `restart`", path, bytes);
    fs::resize_file(path, static_cast<uintmax_t>(bytes));
  }
  file.open(path, std::ios::binary | (bytes > 0 ? std::ios::app : std::ios::trunc));
  LORSA_CHECK(file.good(), IoError, "{}: cannot be opened for writing", path);
}

template <typename Index>
void DelphiExport::take(const kernels::TopK& kept, const at::Tensor& scored_BT) {
  const int64_t T = plan_.context_length;
  const int64_t K = kept.head_PK.size(1);
  const auto* head = kept.head_PK.const_data_ptr<int32_t>();
  const auto* value = kept.value_PK.const_data_ptr<float>();
  const auto* scored = scored_BT.const_data_ptr<bool>();
  for (int64_t i = 0; i < kept.head_PK.numel(); ++i) {
    const int64_t p = i / K;
    if (value[i] == 0.0F || !scored[p]) {
      continue;
    }
    Split& split = splits_[static_cast<size_t>(split_of_head_[static_cast<size_t>(head[i])])];
    append(split.location_bytes, static_cast<Index>(rows_ + p / T));
    append(split.location_bytes, static_cast<Index>(p % T));
    append(split.location_bytes, static_cast<Index>(head[i] - split.begin));
    append(split.value_bytes, c10::Half(std::clamp(value[i], -kLargestHalf, kLargestHalf)));
    ++split.activations;
  }
}

void DelphiExport::add(const kernels::TopK& kept,
                       const at::Tensor& scored_BT,
                       const at::Tensor& tokens_BT) {
  const kernels::TopK on_cpu{kept.value_PK.to(at::kCPU, at::kFloat).contiguous(),
                             kept.head_PK.to(at::kCPU).contiguous()};
  const at::Tensor scored = scored_BT.contiguous();
  if (wide_) {
    take<uint32_t>(on_cpu, scored);
  } else {
    take<uint16_t>(on_cpu, scored);
  }
  for (Split& split : splits_) {
    write(split.locations, split.location_bytes, pending_->path());
    write(split.values, split.value_bytes, pending_->path());
  }
  const at::Tensor tokens = tokens_BT.contiguous();
  const char* bytes = reinterpret_cast<const char*>(tokens.const_data_ptr<int32_t>());
  std::vector<char> token_bytes(bytes, bytes + tokens.nbytes());
  write(tokens_, token_bytes, pending_->path());
  rows_ += tokens.size(0);
}

std::vector<int64_t> DelphiExport::sync() {
  std::vector<int64_t> written{rows_};
  const auto sync_file = [](std::ofstream& file, const fs::path& path) {
    file.flush();
    LORSA_CHECK(file.good(), IoError, "{}: cannot write", path);
    io::sync_path(path);
  };
  for (Split& split : splits_) {
    sync_file(split.locations, spill(split, ".locations"));
    sync_file(split.values, spill(split, ".values"));
    written.push_back(split.activations);
  }
  sync_file(tokens_, pending_->path() / "tokens");
  return written;
}

void DelphiExport::write_split(const Split& split) const {
  const int64_t location_bytes = split.activations * (wide_ ? 12 : 6);
  const int64_t value_bytes = split.activations * 2;
  const int64_t token_bytes = rows_ * plan_.context_length * 4;
  // The widest first, so that each tensor is aligned to its own size.
  const auto range = [](int64_t begin, int64_t size) { return io::Json{begin, begin + size}; };
  io::Json header;
  header["tokens"] = {{"dtype", "I32"},
                      {"shape", {rows_, plan_.context_length}},
                      {"data_offsets", range(0, token_bytes)}};
  header["locations"] = {{"dtype", wide_ ? "U32" : "U16"},
                         {"shape", {split.activations, 3}},
                         {"data_offsets", range(token_bytes, location_bytes)}};
  header["activations"] = {{"dtype", "F16"},
                           {"shape", {split.activations}},
                           {"data_offsets", range(token_bytes + location_bytes, value_bytes)}};
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t size = text.size();

  io::PendingFile pending(spill(split, ".safetensors"));
  std::ofstream out(pending.temporary_path(), std::ios::binary);
  out.write(reinterpret_cast<const char*>(&size), sizeof(size));
  out << text;
  append_file(out, pending_->path() / "tokens");
  append_file(out, spill(split, ".locations"));
  append_file(out, spill(split, ".values"));
  out.close();
  LORSA_CHECK(out.good(), IoError, "{}: cannot write", pending.temporary_path());
  pending.commit();
}

void DelphiExport::finish(const io::Json& config) {
  static_cast<void>(sync());
  for (Split& split : splits_) {
    split.locations.close();
    split.values.close();
    write_split(split);
  }
  tokens_.close();
  io::write_json(pending_->path() / "config.json", config);
  // Tokens first: without them the export is not one to be gone on with (is_unfinished), whatever
  // else a kill leaves.
  io::remove_tree(pending_->path() / "tokens");
  for (const Split& split : splits_) {
    io::remove_tree(spill(split, ".locations"));
    io::remove_tree(spill(split, ".values"));
  }
  pending_->commit();
}

}  // namespace lorsa::analysis
