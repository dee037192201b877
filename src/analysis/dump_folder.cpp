#include "analysis/dump_folder.h"

#include <string>

#include "lorsa/core/error.h"
#include "lorsa/io/json.h"

namespace lorsa::analysis {
namespace {

namespace fs = std::filesystem;

bool is_dump(const fs::path& folder) {
  if (!fs::exists(folder / kDumpIndex)) {
    return false;
  }
  const io::Json index = io::read_json(folder / kDumpIndex);
  const auto schema = index.find("schema");
  return schema != index.end() && schema->is_string() &&
         schema->get<std::string>().rfind("lorsa-dump-", 0) == 0;
}

/// True if a killed dump may have left this: nothing but files that a dump writes.
bool is_leftover_dump(const fs::path& folder) {
  if (!fs::is_directory(folder)) {
    return false;
  }
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name != "explorer" && name.rfind("heads-", 0) != 0 && name.rfind(kDumpIndex, 0) != 0 &&
        name.rfind("pass.state", 0) != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace

DumpFolder::DumpFolder(const fs::path& out, Start start) : final_(io::without_trailing_slash(out)) {
  LORSA_CHECK(!final_.empty() && final_.filename() != "." && final_.filename() != "..", ConfigError,
              "out: \"{}\" names no new folder", out);
  if (fs::exists(final_)) {
    LORSA_CHECK(fs::is_directory(final_) && (fs::is_empty(final_) || is_dump(final_)), ConfigError,
                "{}: exists and is no dump of heads (no {}); give another `out`", final_,
                kDumpIndex);
  }
  for (const char* suffix : {".tmp", ".old"}) {
    const fs::path path = io::beside(final_, suffix);
    LORSA_CHECK(!fs::exists(path) || is_leftover_dump(path), ConfigError,
                "{}: is in the way and holds other files; remove it or give another `out`", path);
  }
  const fs::path pending = io::beside(final_, ".tmp");
  if (start == Start::kRestart || !fs::exists(pending / "pass.state")) {
    io::remove_tree(pending);
  } else {
    for (const auto& entry : fs::directory_iterator(pending)) {
      if (entry.path().filename() != "pass.state") {
        io::remove_tree(entry.path());
      }
    }
  }
  pending_.emplace(final_, io::PendingFolder::Leftover::kContinue);
  if (has_state()) {
    keep_state();
  }
}

void DumpFolder::commit() {
  io::remove_tree(state_path());
  pending_->commit();
}

}  // namespace lorsa::analysis
