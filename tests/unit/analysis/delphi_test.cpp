#include <c10/util/Half.h>

#include <cstring>
#include <fstream>

#include "analysis/delphi_export.h"
#include "unit/analysis/tiny_dump.h"

using namespace lorsa;
using analysis::DelphiExport;
using Catch::Matchers::Contains;
using test::TinyDump;

namespace {

/// A split's file, read by the description of the safetensors format.
struct SplitFile {
  explicit SplitFile(const std::filesystem::path& path) : bytes(io::read_file(path)) {
    uint64_t size = 0;
    std::memcpy(&size, bytes.data(), 8);
    header = io::parse_json(bytes.substr(8, size), path.string());
    data = bytes.data() + 8 + size;
  }

  template <typename T>
  [[nodiscard]] std::vector<T> values(const std::string& name) const {
    const io::Json& range = header.at(name).at("data_offsets");
    const auto begin = range[0].get<size_t>();
    std::vector<T> out((range[1].get<size_t>() - begin) / sizeof(T));
    std::memcpy(out.data(), data + begin, out.size() * sizeof(T));
    return out;
  }

  std::string bytes;
  io::Json header;
  const char* data;
};

analysis::DumpOptions with_export(const TinyDump& tiny) {
  analysis::DumpOptions options = tiny.options();
  options.delphi = tiny.dir / "latents";
  options.num_delphi_splits = 3;
  return options;
}

}  // namespace

TEST_CASE("an export holds every activation at scored tokens", "[analysis]") {
  const TinyDump tiny;
  const analysis::DumpReport report = analysis::dump_heads(with_export(tiny));
  const std::filesystem::path module = tiny.dir / "latents" / "layers.1.self_attn";
  REQUIRE(report.delphi == module);
  const at::Tensor a_RTH = tiny.activations() * tiny.scored_RT.unsqueeze(2);
  at::Tensor left_RTH = a_RTH.clone();
  // Ranges of heads as delphi names them, the last one included.
  const std::vector<std::pair<int64_t, std::string>> splits = {
      {0, "0_45"}, {46, "46_92"}, {93, "93_139"}};
  for (const auto& [begin, name] : splits) {
    const SplitFile file(module / (name + ".safetensors"));
    REQUIRE(file.header.at("locations").at("dtype") == "U16");
    REQUIRE(file.header.at("activations").at("dtype") == "F16");
    REQUIRE(file.header.at("tokens").at("dtype") == "I32");
    const auto tokens = file.values<int32_t>("tokens");
    REQUIRE(static_cast<int64_t>(tokens.size()) == tiny.tokens_RT.numel());
    REQUIRE(std::equal(tokens.begin(), tokens.end(), tiny.tokens_RT.const_data_ptr<int32_t>()));
    const auto locations = file.values<uint16_t>("locations");
    const auto activations = file.values<c10::Half>("activations");
    REQUIRE(locations.size() == 3 * activations.size());
    for (size_t i = 0; i < activations.size(); ++i) {
      at::Tensor place =
          left_RTH[locations[3 * i]][locations[3 * i + 1]][begin + locations[3 * i + 2]];
      // Half precision has eleven bits.
      REQUIRE(static_cast<double>(activations[i]) == Approx(place.item<double>()).epsilon(1e-3));
      place.zero_();
    }
  }
  REQUIRE(a_RTH.count_nonzero().item<int64_t>() > 300);
  REQUIRE(left_RTH.count_nonzero().item<int64_t>() == 0);

  const io::Json config = io::read_json(module / "config.json");
  REQUIRE(config.at("cache_ctx_len") == TinyDump::kContext);
  REQUIRE(config.at("n_splits") == 3);
  REQUIRE(config.at("model_name") == (tiny.dir / "model").string());
  REQUIRE(test::files_below(tiny.dir / "latents").size() == 4);
}

TEST_CASE("an export replaces an older one and nothing else", "[analysis]") {
  const TinyDump tiny;
  analysis::DumpOptions options = with_export(tiny);
  static_cast<void>(analysis::dump_heads(options));
  options.num_delphi_splits = 2;
  static_cast<void>(analysis::dump_heads(options));
  const std::filesystem::path module = tiny.dir / "latents" / "layers.1.self_attn";
  REQUIRE(test::files_below(module).size() == 3);
  options.delphi = tiny.dir / "precious";
  std::filesystem::create_directories(options.delphi / "layers.1.self_attn");
  std::ofstream(options.delphi / "layers.1.self_attn" / "thesis.tex") << "text\n";
  REQUIRE_THROWS_WITH(analysis::dump_heads(options), Contains("no export of heads"));
  REQUIRE_THROWS_AS(analysis::dump_heads(options), ConfigError);
  REQUIRE(std::filesystem::exists(options.delphi / "layers.1.self_attn" / "thesis.tex"));
  options = with_export(tiny);
  options.num_delphi_splits = 141;
  REQUIRE_THROWS_WITH(analysis::dump_heads(options), Contains("141") && Contains("140 heads"));
}

TEST_CASE("an export gone on with drops what came behind the saved state", "[analysis]") {
  test::TempDir dir;
  const analysis::DelphiPlan plan{dir / "latents", "layers.0.self_attn", 4, 2, 3, 2};
  const auto add = [](DelphiExport& to, float value) {
    const kernels::TopK kept{at::full({2, 1}, value), at::tensor({1, 3}, at::kInt).view({2, 1})};
    to.add(kept, at::ones({1, 2}, at::kBool), at::full({1, 2}, 7, at::kInt));
  };
  const auto result = [&] { return test::files_below(dir / "latents" / "layers.0.self_attn"); };
  {
    DelphiExport whole(plan, {});
    for (const float value : {1.0F, 2.0F, 3.0F}) {
      add(whole, value);
    }
    whole.finish({{"lorsa", 1}});
  }
  const auto expected = result();
  REQUIRE(expected.size() == 3);
  REQUIRE(!DelphiExport::is_unfinished(plan));
  std::vector<int64_t> written;
  {
    DelphiExport killed(plan, {});
    add(killed, 1.0F);
    written = killed.sync();
    REQUIRE(written == std::vector<int64_t>{1, 1, 1});
    add(killed, 9.0F);  // behind the saved state
    killed.keep_unfinished();
  }
  REQUIRE(DelphiExport::is_unfinished(plan));
  {
    DelphiExport resumed(plan, written);
    add(resumed, 2.0F);
    add(resumed, 3.0F);
    resumed.finish({{"lorsa", 1}});
  }
  REQUIRE(result() == expected);
  REQUIRE_THROWS_AS(DelphiExport(plan, {2, 1, 1}), FormatError);
}

TEST_CASE("many rows or heads take wide locations and large activations stay finite",
          "[analysis]") {
  test::TempDir dir;
  for (const int64_t rows : {int64_t{1} << 16, (int64_t{1} << 16) + 1}) {
    const analysis::DelphiPlan plan{dir / "latents", "module", 2, 1, rows, 1};
    DelphiExport to(plan, {});
    to.add({at::full({1, 1}, -1e6F), at::ones({1, 1}, at::kInt)}, at::ones({1, 1}, at::kBool),
           at::zeros({1, 1}, at::kInt));
    to.finish({{"lorsa", 1}});
    const SplitFile file(dir / "latents" / "module" / "0_1.safetensors");
    REQUIRE(static_cast<float>(file.values<c10::Half>("activations").at(0)) == -65504.0F);
    if (rows > 1 << 16) {
      REQUIRE(file.header.at("locations").at("dtype") == "U32");
      REQUIRE(file.values<uint32_t>("locations") == std::vector<uint32_t>{0, 0, 1});
    } else {
      REQUIRE(file.header.at("locations").at("dtype") == "U16");
      REQUIRE(file.values<uint16_t>("locations") == std::vector<uint16_t>{0, 0, 1});
    }
  }
}
