// Checkpoint folders whose path or files are something else.
#include <fstream>

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "lorsa/model/checkpoint.h"
#include "lorsa/model/interchange.h"
#include "model/torch_archive.h"
#include "support/test.h"
#include "support/throws.h"

using namespace lorsa;

namespace {

namespace fs = std::filesystem;

const std::string kLfsPointer =
    "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9000\n";

void put(const fs::path& path, const std::string& content = "{}") {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

template <typename Failure = FormatError>
std::string not_loaded(const fs::path& path) {
  return test::message_of<Failure>([&] { static_cast<void>(model::load_checkpoint(path)); });
}

template <typename Failure = FormatError>
std::string not_detected(const fs::path& path) {
  return test::message_of<Failure>([&] { static_cast<void>(model::detect_kind(path)); });
}

}  // namespace

TEST_CASE("a path that is no checkpoint is refused with what it is and the likely one", "[model]") {
  const test::TempDir dir;
  put(dir / "run/config.yaml");
  put(dir / "run/metrics.jsonl");
  put(dir / "run/final/lorsa.json");
  put(dir / "run/final/model.safetensors");
  put(dir / "cache/layer-1/manifest.json");
  put(dir / "dump/index.json");
  put(dir / "dump/heads-00000.jsonl");
  put(dir / "peer/config.json");
  put(dir / "peer/sae_weights.safetensors");
  const std::string final = (dir / "run/final").string();
  for (const char* path : {"run", "run/", "run/final/lorsa.json", "run/final/model.safetensors"}) {
    CAPTURE(path);
    test::require_parts(not_loaded(dir / path),
                        {"expected a checkpoint (lorsa.json", "did you mean " + final + "?"});
  }
  test::require_parts(not_loaded(dir / "cache/layer-1"), {"an activation cache", "swapped"});
  test::require_parts(not_loaded(dir / "cache"), {"a folder of activation caches (layer-1)"});
  test::require_parts(not_loaded(dir / "dump"), {"a dump of heads", "index.json"});
  test::require_parts(not_loaded(dir / "peer"), {"of llamascopium", "lorsa-convert"});
  test::require_parts(not_loaded<IoError>(dir / "none"), {"found nothing"});
  // lorsa-convert's INPUT
  test::require_parts(not_detected(dir / "run"), {"none of them", "did you mean " + final + "?"});
  test::require_parts(not_detected(dir / "cache/layer-1"), {"an activation cache"});
  test::require_parts(not_detected<IoError>(dir / "peer/sae_weights.safetensors"),
                      {"did you mean " + (dir / "peer").string() + "?"});
  test::require_parts(not_detected<IoError>(dir / "none"), {"found nothing"});
}

TEST_CASE("files of a checkpoint that are something else are named", "[model]") {
  const test::TempDir dir;
  put(dir / "a/lorsa.json", kLfsPointer);
  test::require_parts(not_loaded(dir / "a"), {"lorsa.json", "Git LFS pointer"});
  for (const std::string& content : {kLfsPointer, std::string("<html>no</html>"), std::string()}) {
    put(dir / "final.pth", content);
    const std::string message = test::message_of<FormatError>(
        [&] { static_cast<void>(model::read_torch_state_dict(dir / "final.pth")); });
    test::require_parts(message, {(dir / "final.pth").string(), "zip archive, as torch.save"});
    test::require_parts(message, {content == kLfsPointer ? "Git LFS pointer"
                                  : content.empty()      ? "an empty file"
                                                         : "a web page"});
  }
  fs::copy(test::golden("io/two_tensors.safetensors"), dir / "b.pth");
  test::require_parts(test::message_of<FormatError>(
                          [&] { static_cast<void>(model::read_torch_state_dict(dir / "b.pth")); }),
                      {"found a safetensors file"});
}
