#include "metrics/metrics_log.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>
#include <unordered_map>

#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"

namespace lorsa::metrics {
namespace {

constexpr const char* kTokens = "tokens";

// Under these names anything but a number is damage; elsewhere it is somebody else's note.
constexpr std::array<std::string_view, 13> kNumbers{
    "loss",      "fvu",          "l0",          "dead_fraction", "learning_rate",   "top_k",
    "grad_norm", "tokens_per_s", "data_wait_s", "model_s",       "communication_s", "optimizer_s",
    "elapsed_s"};

/// The number of a member, NaN for null; false if it is neither and may be passed over.
bool number_of(const io::Json& object,
               const std::string& key,
               const io::Json& value,
               const std::string& where,
               double& number) {
  if (value.is_null()) {
    number = std::numeric_limits<double>::quiet_NaN();
    return true;
  }
  if (!value.is_number() && std::find(kNumbers.begin(), kNumbers.end(), key) == kNumbers.end()) {
    return false;
  }
  number = io::member<double>(object, key, where);
  return true;
}

class Builder {
 public:
  void add(const io::Json& line, const std::string& where) {
    const auto tokens = io::member<int64_t>(line, kTokens, where);
    LORSA_CHECK(tokens >= log_.last_tokens, FormatError,
                "{}: tokens: expected {} or more, since lines are in order, found {}", where,
                log_.last_tokens, tokens);
    log_.last_tokens = tokens;
    ++log_.num_lines;
    for (const auto& [key, value] : line.items()) {
      double number = 0.0;
      if (key != kTokens && number_of(line, key, value, where, number)) {
        Curve& curve = curve_of(key);
        curve.tokens.push_back(tokens);
        curve.values.push_back(number);
      }
    }
  }

  MetricsLog take() { return std::move(log_); }

 private:
  Curve& curve_of(const std::string& key) {
    const auto [place, is_new] = index_.try_emplace(key, log_.curves.size());
    if (is_new) {
      log_.curves.push_back(Curve{.key = key, .tokens = {}, .values = {}});
    }
    return log_.curves[place->second];
  }

  MetricsLog log_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace

const Curve* MetricsLog::find(const std::string& key) const {
  const auto found = std::find_if(curves.begin(), curves.end(),
                                  [&](const Curve& curve) { return curve.key == key; });
  return found == curves.end() ? nullptr : &*found;
}

MetricsLog read_metrics_log(const std::filesystem::path& path) {
  const std::string text = io::read_file(path);
  Builder builder;
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    const std::string line = text.substr(begin, end == std::string::npos ? end : end - begin);
    const std::string where = formatted("{}:{}", path, ++number);
    if (end == std::string::npos && !io::Json::accept(line)) {
      log_warning("{}: passed over: the last line is cut", where);
      break;
    }
    builder.add(io::parse_json(line, where), where);
    begin = end == std::string::npos ? text.size() : end + 1;
  }
  return builder.take();
}

}  // namespace lorsa::metrics
