#include <csignal>
#include <fstream>

#include "analysis/dump_state.h"
#include "lorsa/core/stop_signal.h"
#include "unit/analysis/tiny_dump.h"

using namespace lorsa;
using analysis::DumpOptions;
using Catch::Matchers::Contains;
using test::TinyDump;

namespace {

DumpOptions single_rows(const TinyDump& tiny) {
  DumpOptions options = tiny.options();
  options.batch_rows = 1;
  return options;
}

/// Leaves in `options.out`.tmp what a dump leaves that is stopped behind its second row. Returns
/// the rows that it has done.
int64_t stop_in_the_middle(const DumpOptions& options) {
  study::Study study("cpu");
  study.open_cache(options.cache);
  study.open_checkpoint(options.checkpoint);
  study.open_model(options.model);
  const analysis::DumpInputs in(
      std::move(study),
      {0, options.num_contexts, options.window_tokens, options.num_quantiles,
       options.num_non_firing, static_cast<uint64_t>(options.seed)},
      {options.max_rows, options.batch_rows, options.progress});
  analysis::DumpFolder folder(options.out, analysis::DumpFolder::Start::kContinue);
  analysis::PassState state{analysis::HeadCollector(in.collector)};
  const StopSignal stop;
  REQUIRE(!analysis::run_activation_pass(in, state, nullptr, [&] {
    if (state.rows_done == 2) {
      std::raise(SIGTERM);
    }
  }));
  analysis::save_state(folder, analysis::pass_identity(in, std::nullopt), state);
  return state.rows_done;
}

}  // namespace

TEST_CASE("a dump stopped by a signal goes on to the same bytes", "[analysis]") {
  const TinyDump tiny;
  DumpOptions options = single_rows(tiny);
  options.out = tiny.dir / "whole";
  static_cast<void>(analysis::dump_heads(options));
  options.out = tiny.dir / "dump";
  const int64_t rows_done = stop_in_the_middle(options);
  REQUIRE(rows_done >= 2);
  REQUIRE(rows_done < TinyDump::kRows);
  REQUIRE(std::filesystem::exists(tiny.dir / "dump.tmp" / "pass.state"));
  const analysis::DumpReport report = analysis::dump_heads(options);
  REQUIRE(report.num_rows == TinyDump::kRows);
  const auto whole = test::files_below(tiny.dir / "whole");
  REQUIRE(whole.size() > 5);
  REQUIRE(test::files_below(tiny.dir / "dump") == whole);
  REQUIRE(!std::filesystem::exists(tiny.dir / "dump.tmp"));
}

TEST_CASE("a signal before the first row is answered and saved", "[analysis]") {
  const TinyDump tiny;
  {
    const StopSignal stop;
    std::raise(SIGTERM);
    REQUIRE_THROWS_WITH(analysis::dump_heads(tiny.options()),
                        Contains("behind row 0 of 9") && Contains("same command"));
    REQUIRE_THROWS_AS(analysis::dump_heads(tiny.options()), Interrupted);
  }
  REQUIRE(!std::filesystem::exists(tiny.dir / "dump"));
  REQUIRE(analysis::dump_heads(tiny.options()).num_tokens == TinyDump::kRows * TinyDump::kContext);
}

TEST_CASE("the state saved last is gone on with when nothing says goodbye", "[analysis]") {
  const TinyDump tiny;
  DumpOptions options = single_rows(tiny);
  options.save_every_s = 0.0;
  options.out = tiny.dir / "whole";
  static_cast<void>(analysis::dump_heads(options));
  // What a failure between two shards leaves.
  options.out = tiny.dir / "dump";
  stop_in_the_middle(options);
  {
    const analysis::DumpFolder folder(options.out, analysis::DumpFolder::Start::kContinue);
    io::write_file(folder.path() / "heads-00000.jsonl", "half");
  }
  REQUIRE(std::filesystem::exists(tiny.dir / "dump.tmp" / "pass.state"));
  REQUIRE(std::filesystem::exists(tiny.dir / "dump.tmp" / "heads-00000.jsonl"));
  const analysis::DumpReport report = analysis::dump_heads(options);
  REQUIRE(report.num_tokens == TinyDump::kRows * TinyDump::kContext);
  REQUIRE(test::files_below(tiny.dir / "dump") == test::files_below(tiny.dir / "whole"));
}

TEST_CASE("an unfinished dump of other options is not gone on with", "[analysis]") {
  const TinyDump tiny;
  DumpOptions options = single_rows(tiny);
  stop_in_the_middle(options);
  options.num_contexts = 5;
  REQUIRE_THROWS_AS(analysis::dump_heads(options), ConfigError);
  REQUIRE_THROWS_WITH(analysis::dump_heads(options),
                      Contains("contexts 4") && Contains("has 5") && Contains("`restart`"));
  REQUIRE(std::filesystem::exists(tiny.dir / "dump.tmp" / "pass.state"));
  options.restart = true;
  static_cast<void>(analysis::dump_heads(options));
  options.out = tiny.dir / "whole";
  static_cast<void>(analysis::dump_heads(options));
  REQUIRE(test::files_below(tiny.dir / "dump") == test::files_below(tiny.dir / "whole"));
}

TEST_CASE("an unfinished dump of another checkpoint is not gone on with", "[analysis]") {
  TinyDump tiny;
  stop_in_the_middle(single_rows(tiny));
  tiny.weights.W_V.mul_(2.0);
  tiny.write_checkpoint();
  REQUIRE_THROWS_WITH(analysis::dump_heads(single_rows(tiny)),
                      Contains("checkpoint \"xxh3:") && Contains("`restart`"));
}

TEST_CASE("a cut state is named", "[analysis]") {
  const TinyDump tiny;
  const DumpOptions options = single_rows(tiny);
  stop_in_the_middle(options);
  const std::filesystem::path state = tiny.dir / "dump.tmp" / "pass.state";
  const auto size = std::filesystem::file_size(state);
  for (const auto cut : {size - 1, size / 2, size_t{3}}) {
    std::filesystem::resize_file(state, cut);
    REQUIRE_THROWS_AS(analysis::dump_heads(options), FormatError);
    REQUIRE_THROWS_WITH(analysis::dump_heads(options), Contains("pass.state"));
  }
}
