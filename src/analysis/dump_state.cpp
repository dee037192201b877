#include "analysis/dump_state.h"

#include <fstream>

#include "lorsa/core/error.h"
#include "lorsa/core/version.h"
#include "lorsa/io/checksum.h"
#include "lorsa/io/files.h"

namespace lorsa::analysis {
namespace {

constexpr const char* kSchema = "lorsa-dump-state-1";
constexpr size_t kMostSplits = 1 << 20;
constexpr const char* kRestart = "run the same command again, or discard that dump with `restart`";

void check_identity(const io::Json& saved, const io::Json& now, const std::string& where) {
  for (const auto& [key, value] : now.items()) {
    LORSA_CHECK(saved.contains(key) && saved[key] == value, ConfigError,
                "{}: is of an unfinished dump with {} {}, this one has {}: {}", where, key,
                saved.value(key, io::Json()).dump(), value.dump(), kRestart);
  }
}

}  // namespace

io::Json pass_identity(const DumpInputs& in, const std::optional<DelphiPlan>& delphi) {
  const std::filesystem::path checkpoint = in.study.members().front().name;
  io::Json json;
  json["schema"] = kSchema;
  json["lorsa_version"] = version();
  json["checkpoint"] = io::file_xxh3(checkpoint / "model.safetensors");
  json["checkpoint_json"] = io::file_xxh3(checkpoint / "lorsa.json");
  json["cache"] = io::file_xxh3(in.study.cache().folder() / "manifest.json");
  json["rows"] = in.rows.size();
  json["contexts"] = in.collector.num_contexts;
  json["quantile contexts"] = in.collector.num_quantiles;
  json["non-firing contexts"] = in.collector.num_non_firing;
  json["window"] = in.collector.window_tokens;
  json["seed"] = in.collector.seed;
  json["batch rows"] = in.batch_rows;
  json["delphi"] = delphi ? delphi->folder.string() : "";
  json["delphi splits"] = delphi ? delphi->num_splits : 0;
  json["device"] = in.study.device().str();
  return json;
}

void save_state(DumpFolder& folder, const io::Json& identity, const PassState& state) {
  io::PendingFile pending(folder.state_path());
  std::ofstream out(pending.temporary_path(), std::ios::binary);
  out << identity.dump() << '\n'
      << state.rows_done << ' ' << state.forward_seconds << ' ' << state.exported.size();
  for (const int64_t count : state.exported) {
    out << ' ' << count;
  }
  out << '\n';
  state.collector.save(out);
  out.close();
  LORSA_CHECK(out.good(), IoError, "{}: cannot write", pending.temporary_path());
  pending.commit();
  folder.keep_state();
}

void load_state(const DumpFolder& folder, const io::Json& identity, PassState& state) {
  const std::string where = folder.state_path().string();
  std::ifstream in(folder.state_path(), std::ios::binary);
  std::string saved;
  LORSA_CHECK(std::getline(in, saved), FormatError, "{}: is cut: {}", where, kRestart);
  check_identity(io::parse_json(saved, where), identity, where);
  size_t num_exported = 0;
  in >> state.rows_done >> state.forward_seconds >> num_exported;
  LORSA_CHECK(num_exported < kMostSplits, FormatError, "{}: is damaged: {}", where, kRestart);
  state.exported.resize(num_exported);
  for (int64_t& count : state.exported) {
    in >> count;
  }
  LORSA_CHECK(in.get() == '\n', FormatError, "{}: is damaged: {}", where, kRestart);
  state.collector.load(in, where + " (`restart` discards it)");
}

}  // namespace lorsa::analysis
