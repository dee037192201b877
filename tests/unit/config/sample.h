#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lorsa/config/fields.h"
#include "lorsa/core/error.h"

namespace lorsa::test {

enum class Color { kRed, kGreen };

/// A configuration with one field of every kind.
struct Sample {
  std::vector<int64_t> layers = {3};
  int64_t tokens = 400'000;
  double rate = 1e-3;
  bool shuffle = true;
  Color color = Color::kRed;
  std::string path = "cache/layer-17";
  std::vector<std::string> files = {"a.jsonl"};
  int64_t shard_bytes = int64_t{8} << 30;
  double fraction = 0.05;
};

inline void describe(config::Fields& f, Sample& s) {
  f.count_list("layers", s.layers, "Layers to read.").at_least(0);
  f.section("train", "The loop.");
  f.count("tokens", s.tokens, "Tokens to train on.").at_least(1);
  f.number("rate", s.rate, "Peak rate.").between(0, 1);
  f.boolean("shuffle", s.shuffle, "Whether the order is random.");
  f.choice("color", s.color, {{"red", Color::kRed}, {"green", Color::kGreen}},
           "A colour | a word.");
  f.section("data", "What is read.");
  f.text("path", s.path, "Folder of the cache.").required();
  f.text_list("files", s.files, "Documents.");
  f.bytes("shard_bytes", s.shard_bytes, "Size of a shard.");
  f.number("fraction", s.fraction, "Held out.");
}

/// What load_text() makes of `text`; "x.yaml" in messages.
inline Sample load_sample(const std::string& text,
                          const std::vector<std::string>& overrides = {"data.path=p"}) {
  Sample sample;
  config::Fields fields;
  describe(fields, sample);
  config::load_text(fields, text, "x.yaml", overrides);
  return sample;
}

/// The message of the ConfigError that load_text() throws.
inline std::string load_error(const std::string& text,
                              const std::vector<std::string>& overrides = {"data.path=p"}) {
  try {
    load_sample(text, overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace lorsa::test
