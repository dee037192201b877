#include "lm/family.h"

#include <algorithm>
#include <array>
#include <vector>

#include "lorsa/core/error.h"

namespace lorsa::lm {
namespace {

constexpr std::array<const Family*, 3> kFamilies = {&kLlama, &kQwen3, &kGptNeox};

std::string known_architectures() {
  std::string known;
  for (const Family* family : kFamilies) {
    known += formatted("{}{}", known.empty() ? "" : ", ", family->architecture);
  }
  return known;
}

/// The entry that `matches`, or nothing.
template <typename Matches>
const Family* find_family(const Matches& matches) {
  const auto found = std::find_if(kFamilies.begin(), kFamilies.end(),
                                  [&](const Family* family) { return matches(*family); });
  return found == kFamilies.end() ? nullptr : *found;
}

/// Those of config.json's `architectures` that are known.
std::vector<const Family*> known_among(const io::Json& names, const std::string& where) {
  std::vector<const Family*> known;
  for (const io::Json& name : names) {
    LORSA_CHECK(name.is_string(), FormatError,
                "{}: architectures: expected a list of names, found {}", where, names.dump());
    const Family* found =
        find_family([&](const Family& each) { return name == each.architecture; });
    if (found != nullptr && std::find(known.begin(), known.end(), found) == known.end()) {
      known.push_back(found);
    }
  }
  return known;
}

}  // namespace

const Family& family_named(const std::string& name, const std::string& where) {
  const Family* found = find_family([&](const Family& each) { return name == each.architecture; });
  LORSA_CHECK(found != nullptr, FormatError, "{}: architecture \"{}\" is not supported; known: {}",
              where, name, known_architectures());
  return *found;
}

const Family& family_of(const io::Json& config, const std::string& where) {
  const auto names = io::member_or<io::Json>(config, "architectures", where, io::Json::array());
  LORSA_CHECK(names.is_array(), FormatError,
              "{}: architectures: expected a list of names, found {}", where, names.dump());
  const std::vector<const Family*> known = known_among(names, where);
  LORSA_CHECK(known.size() <= 1, FormatError,
              "{}: architectures: expected one that is known, found {}", where, names.dump());
  const auto model_type = io::member_or<std::string>(config, "model_type", where, "");
  const Family* by_type =
      find_family([&](const Family& each) { return model_type == each.model_type; });
  const std::string type_text =
      model_type.empty() ? "no model_type" : formatted("model_type \"{}\"", model_type);
  if (known.empty()) {
    LORSA_CHECK(names.empty() && by_type != nullptr, FormatError,
                "{}: architectures {} with {} are not supported; known: {}", where, names.dump(),
                type_text, known_architectures());
    return *by_type;
  }
  LORSA_CHECK(
      model_type.empty() || by_type == known.front(), FormatError,
      "{}: architectures {} and {} disagree: transformers would go by the latter (expected \"{}\")",
      where, names.dump(), type_text, known.front()->model_type);
  return *known.front();
}

}  // namespace lorsa::lm
