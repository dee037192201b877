#include "lm/post_processor.h"

#include <algorithm>
#include <utility>

#include "lorsa/core/error.h"

namespace lorsa::lm {
namespace {

using io::Json;

std::vector<int32_t> ids_of_special(const Json& settings,
                                    const Json& item,
                                    const std::string& where) {
  const auto name = io::member<std::string>(item, "id", where);
  const Json all = io::member<Json>(settings, "special_tokens", where);
  const Json entry = io::member<Json>(all, name, where + ".special_tokens");
  const Json ids = io::member<Json>(entry, "ids", where + ".special_tokens." + name);
  LORSA_CHECK(ids.is_array() && std::all_of(ids.begin(), ids.end(),
                                            [](const Json& id) {
                                              return id.is_number_integer() &&
                                                     id.get<int64_t>() >= 0 &&
                                                     id.get<int64_t>() <= INT32_MAX;
                                            }),
              FormatError, "{}.special_tokens.{}: ids: expected a list of ids, found {}", where,
              name, ids.dump());
  return ids.get<std::vector<int32_t>>();
}

Template read_single(const Json& settings, const std::string& where) {
  const Json single = io::member<Json>(settings, "single", where);
  LORSA_CHECK(single.is_array(), FormatError, "{}: single: expected a list", where);
  Template result;
  bool text_seen = false;
  for (const Json& item : single) {
    const std::string here = where + ".single";
    if (item.is_object() && item.contains("SpecialToken")) {
      const auto ids = ids_of_special(settings, item["SpecialToken"], where);
      auto& side = text_seen ? result.after : result.before;
      side.insert(side.end(), ids.begin(), ids.end());
    } else {
      const Json text = io::member<Json>(item, "Sequence", here);
      LORSA_CHECK(!text_seen && io::member<std::string>(text, "id", here) == "A", FormatError,
                  "{}: expected the sequence \"A\" once, found {}", here, single.dump());
      text_seen = true;
    }
  }
  LORSA_CHECK(text_seen, FormatError, "{}.single: expected the sequence \"A\", found none", where);
  return result;
}

}  // namespace

Template read_template(const Json& settings, const std::string& where) {
  if (settings.is_null()) {
    return {};
  }
  const auto type = io::member<std::string>(settings, "type", where);
  if (type == "ByteLevel") {
    return {};  // trims offsets only
  }
  if (type == "TemplateProcessing") {
    return read_single(settings, where);
  }
  LORSA_CHECK(type == "Sequence", FormatError, "{}: post-processor {} is not supported", where,
              type);
  const Json inner = io::member<Json>(settings, "processors", where);
  LORSA_CHECK(inner.is_array(), FormatError, "{}: processors: expected a list", where);
  Template result;
  for (size_t i = 0; i < inner.size(); ++i) {
    const std::string here = formatted("{}.processors[{}]", where, i);
    Template found = read_template(inner[i], here);
    if (!found.before.empty() || !found.after.empty()) {
      LORSA_CHECK(result.before.empty() && result.after.empty(), FormatError,
                  "{}: a second template is not supported", here);
      result = std::move(found);
    }
  }
  return result;
}

}  // namespace lorsa::lm
