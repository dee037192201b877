#include "io/folder_kind.h"

#include <fstream>

#include "lorsa/core/error.h"
#include "support/throws.h"

namespace lorsa::io {
namespace {

namespace fs = std::filesystem;

void touch(const fs::path& path) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << "x";
}

/// A folder as the quickstart leaves it.
void make_quickstart(const fs::path& root) {
  touch(root / "model/config.json");
  touch(root / "model/model.safetensors");
  touch(root / "corpus.jsonl");
  for (const char* layer : {"layer-3", "layer-17"}) {
    touch(root / "cache" / layer / "manifest.json");
    touch(root / "cache" / layer / "shard-00000.h5");
  }
  touch(root / "run/config.yaml");
  touch(root / "run/metrics.jsonl");
  touch(root / "run/final/lorsa.json");
  touch(root / "run/checkpoints/tokens-000000001000/lorsa.json");
  touch(root / "run/checkpoints/tokens-000000002000/lorsa.json");
  touch(root / "dump/index.json");
  touch(root / "dump/explorer/index.html");
}

TEST_CASE("describe_folder knows what lorsa and its neighbours write", "[io]") {
  const test::TempDir dir;
  make_quickstart(dir.path());
  touch(dir / "peer/sae_weights.safetensors");
  touch(dir / "original/final.pth");
  touch(dir / "sweep/results.json");
  touch(dir / "sweep/runs/a/config.yaml");
  touch(dir / "hub/models--a--b/snapshots/0a1b/config.json");
  fs::create_directories(dir / "empty");
  fs::create_symlink("nowhere", dir / "link");
  const std::pair<const char*, Place> cases[] = {{"model", Place::kModel},
                                                 {"cache/layer-3", Place::kCache},
                                                 {"cache/layer-3/", Place::kCache},
                                                 {"cache", Place::kCaches},
                                                 {"run", Place::kRun},
                                                 {"run/final", Place::kCheckpoint},
                                                 {"dump", Place::kDump},
                                                 {"peer", Place::kForeignCheckpoint},
                                                 {"original", Place::kForeignCheckpoint},
                                                 {"sweep", Place::kSweep},
                                                 {"hub", Place::kHubCache},
                                                 {"hub/models--a--b", Place::kHubCache},
                                                 {"empty", Place::kEmptyFolder},
                                                 {"link", Place::kNothing},
                                                 {"none", Place::kNothing},
                                                 {"corpus.jsonl", Place::kFile},
                                                 {"run/checkpoints", Place::kOtherFolder}};
  for (const auto& [name, place] : cases) {
    CAPTURE(name);
    CHECK(describe_folder(dir / name).place == place);
    CHECK_FALSE(describe_folder(dir / name).words.empty());
  }
  CHECK(describe_folder(dir / "cache").words ==
        "a folder of activation caches (layer-17, layer-3)");
}

TEST_CASE("places_near finds what was meant in it, around it and beside it", "[io]") {
  const test::TempDir dir;
  make_quickstart(dir.path());
  using Paths = std::vector<fs::path>;
  CHECK(places_near(dir / "run", Place::kCheckpoint) == Paths{dir / "run/final"});
  CHECK(places_near(dir / "run/", Place::kCheckpoint) == Paths{dir / "run/final"});
  CHECK(places_near(dir.path(), Place::kCheckpoint) == Paths{dir / "run/final"});
  CHECK(places_near(dir / "run/final/lorsa.json", Place::kCheckpoint) == Paths{dir / "run/final"});
  CHECK(places_near(dir / "cache", Place::kCache) ==
        Paths{dir / "cache/layer-17", dir / "cache/layer-3"});
  CHECK(places_near(dir / "cache/layer-3/shard-00000.h5", Place::kCache) ==
        Paths{dir / "cache/layer-3"});
  CHECK(places_near(dir / "run/final", Place::kRun) == Paths{dir / "run"});
  CHECK(places_near(dir / "cache/layer-3", Place::kCheckpoint).empty());
  CHECK(places_near(dir / "none", Place::kCheckpoint).empty());
  // Without a final checkpoint the newest of the saved ones.
  fs::remove_all(dir / "run/final");
  CHECK(places_near(dir / "run", Place::kCheckpoint) ==
        Paths{dir / "run/checkpoints/tokens-000000002000"});
}

TEST_CASE("refuse_place says what was expected, what is there and the likely path", "[io]") {
  const test::TempDir dir;
  make_quickstart(dir.path());
  const auto format = [&](const char* name, Place wanted) {
    return test::message_of<FormatError>([&] { refuse_place(dir / name, wanted, "a thing"); });
  };
  const auto io = [&](const char* name, Place wanted) {
    return test::message_of<IoError>([&] { refuse_place(dir / name, wanted, "a thing"); });
  };
  CHECK(format("run", Place::kCheckpoint) ==
        formatted("{}: expected a thing, found a training's run folder; did you mean {}?",
                  (dir / "run"), (dir / "run/final")));
  test::require_parts(format("cache", Place::kCache), {"name one of ", "layer-17, ", "layer-3"});
  test::require_parts(format("cache/layer-3", Place::kCheckpoint),
                      {"found an activation cache", "swapped?"});
  test::require_parts(format("run/final", Place::kCache), {"found a checkpoint", "swapped?"});
  test::require_parts(format("dump", Place::kCheckpoint), {"a dump of heads", "index.json"});
  test::require_parts(io("none", Place::kCheckpoint), {"found nothing"});
  test::require_parts(io("none/deep", Place::kCheckpoint), {"there is no folder"});
  fs::create_directories(dir / "empty");
  test::require_parts(io("empty", Place::kCache), {"found an empty folder"});
}

}  // namespace
}  // namespace lorsa::io
