// Writes a dump of made-up heads with lorsa-dump's own writer, for explorer_test.sh: as many heads
// as asked, in two layers, with families, every kind of sample and texts that would harm a page
// that took them for markup.
//
//   write_dump FOLDER NUM_HEADS
//
// Heads 0 to 127 have contexts of full size. Head 0 meets every hostile token, head 1 is silent,
// head 777 alone writes " xylophone", and of all heads 4242 has the largest maximum, 555 the
// highest score for "induction".

#include <algorithm>
#include <cmath>
#include <iostream>
#include <random>
#include <set>

#include "analysis/dump_folder.h"
#include "analysis/dump_writer.h"
#include "analysis/patterns.h"
#include "lorsa/core/error.h"
#include "lorsa/core/version.h"
#include "lorsa/io/files.h"

namespace {

namespace fs = std::filesystem;
using namespace lorsa;
using analysis::HeadContext;
using analysis::HeadRecord;
using Random = std::mt19937_64;

constexpr int64_t kScoredTokens = 1000000;
constexpr int64_t kHeadsPerGroup = 64;
constexpr int64_t kNumLayers = 2;
constexpr int32_t kNumWords = 60000;

const std::vector<std::string> kHostile = {
    "<img src=x onerror=\"window.harmed=1\">",
    "</script><script>window.harmed=1</script>",
    "\"><svg onload=window.harmed=1>",
    "&lt;b&gt;&amp;",
    "javascript:window.harmed=1",
    "${window.harmed=1}",
    "]]>--><!--",
    "back\\slash 'single' \"double\" `tick`",
    "\u2028line\u2029paragraph",
    "\u202Edesrever",
    "\u2067\u200Fright",
    "zero\u200Bwidth\uFEFF",
    "\U0001F600\U0001F469\u200D\U0001F467",
    "\u05E9\u05DC\u05D5\u05DD \u0645\u0631\u062D\u0628\u0627",
    "\u0301accent",
    "no\u00A0break\u3000wide",
    "\x07\x1B[31mbell\x7F",
    "\u010A",        // a newline, as byte-level units spell it
    "\u00C3",        // the first byte of a character of two
    "   spaces   ",  // no units: taken as it stands
};
constexpr const char* kUnique = "\u0120xylophone";  // " xylophone"

/// Hostile tokens first, then kUnique, then words of letters.
void write_tokenizer(const fs::path& folder) {
  std::vector<std::string> units = kHostile;
  units.emplace_back(kUnique);
  Random random(1);
  std::set<std::string> known(units.begin(), units.end());
  while (units.size() < kHostile.size() + 1 + static_cast<size_t>(kNumWords)) {
    std::string word = random() % 2 == 0 ? "\u0120" : "";
    const uint64_t syllables = 1 + random() % 3;
    for (uint64_t i = 0; i < syllables; ++i) {
      word += "bcdfghjklmnprstvw"[random() % 17];
      word += "aeiou"[random() % 5];
    }
    word += "rstnl"[random() % 5];
    if (known.insert(word).second) {
      units.push_back(word);
    }
  }
  std::string text =
      "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":null,\"post_processor\":null,"
      "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
      "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{";
  for (size_t id = 0; id < units.size(); ++id) {
    text += formatted("{}{}:{}", id > 0 ? "," : "", analysis::json_string(units[id]), id);
  }
  io::write_file(folder / "tokenizer.json", text + "}}}\n");
}

int32_t word(Random& random) {
  return static_cast<int32_t>(kHostile.size() + 1 + random() % static_cast<uint64_t>(kNumWords));
}

float uniform(Random& random) {
  return static_cast<float>(random() % 10000) / 10000.0F;
}

struct Size {
  int64_t row;
  int64_t window;
};

/// A context of the peak activation `value`; 0: one where the head is silent.
HeadContext context(Random& random, Size size, const std::string& sample, float value) {
  HeadContext c;
  c.sample = sample;
  c.row = static_cast<int64_t>(random() % 1000);
  c.document = c.row / 3;
  c.heldout = c.row % 20 == 0;
  c.position = static_cast<int32_t>(size.row / 2 + static_cast<int64_t>(random() % 4));
  c.value = value;
  c.first = analysis::window_start(c.position, size.window, size.row);
  c.activations.assign(static_cast<size_t>(size.window), 0.0F);
  if (value != 0.0F) {
    c.activations[static_cast<size_t>(c.position - c.first)] = value;
    c.activations.front() = value * 0.4F;
  }
  std::vector<int32_t> tokens(static_cast<size_t>(size.row));
  std::generate(tokens.begin(), tokens.end(), [&] { return word(random); });
  // Three sources in the window, one before it, one against the others.
  std::vector<float> z(static_cast<size_t>(size.row), 0.0F);
  const auto add = [&](int64_t position, float weight) {
    z[static_cast<size_t>(std::max<int64_t>(0, position))] += weight;
  };
  const float scale = value == 0.0F ? 0.1F : value;
  add(c.position - 1, 0.6F * scale);
  add(c.position - 2 - static_cast<int64_t>(random() % 3), 0.25F * scale);
  add(c.position, 0.2F * scale);
  add(c.first - 4, 0.15F * scale);
  add(c.first, -0.2F * scale);
  analysis::fill_context(c, z.data(), tokens.data(), size.row);
  return c;
}

/// The contexts of a head: 17 of full size, or three small ones.
std::vector<HeadContext> contexts(Random& random, bool full, float max) {
  const Size size = full ? Size{256, 64} : Size{24, 8};
  std::vector<HeadContext> all;
  for (int i = 0; i < (full ? 12 : 1); ++i) {
    all.push_back(context(random, size, "top", max * (1.0F - 0.02F * static_cast<float>(i))));
  }
  for (int i = 0; i < (full ? 3 : 1); ++i) {
    const float quantile = 0.9F - 0.3F * static_cast<float>(i);
    all.push_back(context(random, size, "quantile", max * 0.5F * quantile));
    all.back().quantile = quantile;
  }
  for (int i = 0; i < (full ? 2 : 1); ++i) {
    all.push_back(context(random, size, "non_firing", 0.0F));
  }
  return all;
}

/// Puts every hostile token into a context; the peak and its sources among them.
void make_hostile(HeadContext& c) {
  for (size_t i = 0; i < c.tokens.size(); ++i) {
    c.tokens[i] = static_cast<int32_t>(i % kHostile.size());
  }
  c.next_token = 1;
}

HeadRecord make_head(int64_t head, int64_t num_heads) {
  Random random(static_cast<uint64_t>(head) + 99);
  HeadRecord record;
  record.head = head;
  const int64_t per_layer = std::max<int64_t>(1, num_heads / kNumLayers);
  record.layer = 3 + std::min(kNumLayers - 1, head / per_layer);
  record.qk_head = head % per_layer / kHeadsPerGroup;
  const bool silent = head == 1 || head % 10 == 9;
  if (!silent) {
    const double rate = std::pow(10.0, -1.0 - 4.0 * static_cast<double>(uniform(random)));
    record.usage.count = static_cast<int64_t>(rate * kScoredTokens);
    record.usage.max = head == 4242 ? 99.0 : 0.5 + 9.0 * static_cast<double>(uniform(random));
    record.usage.sum = static_cast<double>(record.usage.count) * record.usage.max * 0.4;
    record.contexts = contexts(random, head < 128, static_cast<float>(record.usage.max));
  }
  record.rate = static_cast<double>(record.usage.count) / kScoredTokens;
  record.histogram.assign(analysis::ActivationBins::kCount, 0);
  const int last = analysis::ActivationBins::index(std::max(1e-3, record.usage.max));
  for (int bin = 0; bin < 12 && !silent; ++bin) {
    record.histogram[static_cast<size_t>(last - bin)] =
        static_cast<int64_t>(static_cast<double>(record.usage.count) * std::exp(-0.5 * bin)) + 1;
  }
  for (int i = 0; i < 10; ++i) {
    const float value = 2.0F - 0.1F * static_cast<float>(i);
    record.effect.top.push_back({word(random), value});
    record.effect.bottom.push_back({word(random), -value});
  }
  if (head == 777) {
    record.effect.top.front().token = static_cast<int32_t>(kHostile.size());
  }
  const auto induction = static_cast<double>(uniform(random)) * 0.9;
  record.family_scores = {{"induction", head == 555 ? 0.987 : induction},
                          {"<b>previous token</b>", static_cast<double>(uniform(random))}};
  record.mhsa_overlap = {{head % 9, 0.7}, {(head + 1) % 9, 0.2}};
  if (head == 0) {
    for (HeadContext& c : record.contexts) {
      make_hostile(c);
    }
    for (size_t i = 0; i < record.effect.top.size(); ++i) {
      record.effect.top[i].token = static_cast<int32_t>(i);
      record.effect.bottom[i].token = static_cast<int32_t>(i + 10);
    }
  }
  if (head == 2) {
    record.family_scores.clear();
  }
  return record;
}

io::Json summary(int64_t num_heads) {
  io::Json json;
  json["schema"] = analysis::kDumpSchema;
  json["lorsa_version"] = version();
  json["checkpoint"] = "run/final";
  json["cache"] = "cache";
  json["language_model"] = {
      {"name", kHostile[0]}, {"weights_sha256", std::string(64, '0')}, {"layer", 3}};
  json["shape"] = {{"d_model", 4096},
                   {"num_ov_heads", num_heads},
                   {"num_qk_heads", num_heads / kHeadsPerGroup},
                   {"d_qk", kHeadsPerGroup},
                   {"top_k", 64},
                   {"signed", false}};
  json["context_length"] = 256;
  json["num_rows"] = 4000;
  json["num_tokens"] = 4000 * 256;
  json["num_scored_tokens"] = kScoredTokens;
  json["contexts_per_head"] = 12;
  json["window_tokens"] = 64;
  json["histogram"] = {{"bins_per_octave", analysis::ActivationBins::kPerOctave},
                       {"lowest_exponent", analysis::ActivationBins::kLowestExponent},
                       {"num_bins", analysis::ActivationBins::kCount}};
  return json;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: write_dump FOLDER NUM_HEADS\n";
    return 2;
  }
  const int64_t num_heads = std::stoll(argv[2]);
  analysis::DumpFolder folder(argv[1], analysis::DumpFolder::Start::kRestart);
  const fs::path model = fs::path(argv[1]).concat(".tokenizer");
  io::make_directories(model);
  write_tokenizer(model);
  const lm::Tokenizer tokenizer(model);
  analysis::TokenTexts texts(tokenizer);
  analysis::DumpWriter writer(folder.path(), texts);
  for (int64_t begin = 0; begin < num_heads; begin += analysis::kHeadsPerShard) {
    std::vector<HeadRecord> records;
    for (int64_t head = begin; head < std::min(num_heads, begin + analysis::kHeadsPerShard);
         ++head) {
      records.push_back(make_head(head, num_heads));
    }
    writer.write_shard(records);
  }
  writer.finish(summary(num_heads));
  folder.commit();
}
