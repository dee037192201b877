#include "io/rope_json.h"

#include "support/test.h"
#include "support/throws.h"

using namespace lorsa;
using kernels::RopeScaling;

TEST_CASE("RoPE settings of checkpoints and caches are written as they were read", "[io]") {
  const io::Json checkpoint =
      io::read_json(test::golden("eval/together/attention-17/lorsa.json"))["rope"];
  io::Json cache = io::read_json(test::golden("cache_v2/manifest.json"))["attention"]["rope"];
  const auto again = [](const io::Json& json, io::RopeKeys keys) {
    return io::rope_to_json(io::rope_from_json(json, "file"), keys).dump();
  };
  CHECK(again(checkpoint, io::RopeKeys::kAll) == checkpoint.dump());
  CHECK(again(cache, io::RopeKeys::kUsed) == cache.dump());
  kernels::RopeSpec llama3{4, 5e5, RopeScaling::kLlama3, 8.0, 1.5, 4.5, 4096};
  for (const io::RopeKeys keys : {io::RopeKeys::kAll, io::RopeKeys::kUsed}) {
    CHECK(io::rope_from_json(io::rope_to_json(llama3, keys), "file") == llama3);
  }
  cache["scaling"] = "linear";
  cache.erase("factor");
  test::require_parts(
      test::message_of<FormatError>([&] { static_cast<void>(io::rope_from_json(cache, "file")); }),
      {"file: factor"});
}
