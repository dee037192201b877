#include "analysis/dump_writer.h"

#include <cstdio>

#include "analysis/dump_folder.h"
#include "analysis/explorer_page.h"
#include "lorsa/core/error.h"
#include "lorsa/io/files.h"

namespace lorsa::analysis {
namespace {

std::string shard_name(size_t number) {
  char name[32];
  std::snprintf(name, sizeof(name), "heads-%05zu", number);
  return name;
}

/// One head a line, so that the index can be read and compared as text.
std::string index_text(const io::Json& summary, const io::Json& heads) {
  // Token texts are UTF-8 already; one that is not would otherwise end the dump.
  const auto dump = [](const io::Json& value, int indent) {
    return value.dump(indent, ' ', false, io::Json::error_handler_t::replace);
  };
  std::string out = dump(summary, 2);
  out.resize(out.rfind("\n}"));
  out += ",\n  \"heads\": [\n";
  for (size_t i = 0; i < heads.size(); ++i) {
    out += dump(heads[i], -1) + (i + 1 < heads.size() ? ",\n" : "\n");
  }
  return out + "  ]\n}\n";
}

}  // namespace

DumpWriter::DumpWriter(std::filesystem::path folder, TokenTexts& texts)
    : folder_(std::move(folder)), texts_(texts) {
  write_explorer_page(folder_ / "explorer");
}

void DumpWriter::write_shard(const std::vector<HeadRecord>& records) {
  const std::string name = shard_name(shards_.size());
  std::string lines;
  std::string script = formatted("lorsaHeads({},[\n", shards_.size());
  for (const HeadRecord& record : records) {
    const std::string line = record_line(record, texts_);
    lines += line + "\n";
    script += line + ",\n";
    heads_.push_back(index_entry(record, texts_));
    columns_.add(record, texts_);
  }
  script += "]);\n";
  io::write_file(folder_ / (name + ".jsonl"), lines);
  io::write_file(folder_ / "explorer" / "data" / (name + ".js"), script);
  shards_.push_back(name + ".jsonl");
}

void DumpWriter::finish(io::Json summary) {
  summary["heads_per_shard"] = kHeadsPerShard;
  summary["shards"] = shards_;
  io::write_file(folder_ / "explorer" / "data" / "index.js", columns_.script(summary));
  io::write_file(folder_ / kDumpIndex, index_text(summary, heads_));
}

}  // namespace lorsa::analysis
