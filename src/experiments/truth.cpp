#include "experiments/truth.h"

#include "lorsa/core/error.h"
#include "lorsa/io/json.h"

namespace lorsa::experiments {
namespace {

using io::Json;
using io::member;

std::vector<Truth::Candidate> candidates_of(const Json& row,
                                            const Truth& truth,
                                            const std::string& where) {
  std::vector<Truth::Candidate> candidates;
  std::map<int64_t, size_t> place;
  for (const auto position : member<Json>(row, "candidates", where).get<std::vector<int64_t>>()) {
    LORSA_CHECK(position >= 0 && position < truth.context_length, FormatError,
                "{}: candidate {} is outside a context of {}", where, position,
                truth.context_length);
    place[position] = candidates.size();
    candidates.push_back({position, {}});
  }
  for (const Json& entry : member<Json>(row, "applications", where)) {
    const auto rule = entry.at(0).get<int64_t>();
    const auto found = place.find(entry.at(1).get<int64_t>());
    LORSA_CHECK(
        rule >= 0 && rule < static_cast<int64_t>(truth.rules.size()) && found != place.end(),
        FormatError, "{}: application {} names no rule or no candidate", where, entry.dump());
    candidates[found->second].applications.push_back(
        {rule, entry.at(2).get<std::vector<int64_t>>()});
  }
  return candidates;
}

}  // namespace

Truth read_truth(const std::filesystem::path& path) {
  constexpr int64_t kSchema = 1;
  const std::string where = path.string();
  const Json json = io::read_json(path);
  const auto schema = member<int64_t>(json, "schema", where);
  LORSA_CHECK(schema == kSchema, FormatError, "{}: schema: expected {}, not {}", where, kSchema,
              schema);
  Truth truth;
  truth.layer = member<int64_t>(json, "layer", where);
  truth.context_length = member<int64_t>(json, "context_length", where);
  try {
    truth.rules = member<Json>(json, "rules", where).get<std::vector<std::string>>();
    for (const Json& row : member<Json>(json, "rows", where)) {
      const auto document = member<int64_t>(row, "document", where);
      truth.documents[document] =
          candidates_of(row, truth, formatted("{}: document {}", where, document));
    }
  } catch (const Json::exception& error) {
    throw FormatError(formatted("{}: {}", where, error.what()));
  }
  return truth;
}

}  // namespace lorsa::experiments
