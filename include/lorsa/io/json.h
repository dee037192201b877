#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "lorsa/core/api.h"

namespace lorsa::io {

using Json = nlohmann::ordered_json;

/// `value`, or null where it is not finite: JSON has no such numbers.
[[nodiscard]] LORSA_API Json finite_or_null(double value);

/// Parses JSON text strictly: duplicate keys and trailing text are FormatErrors that name `where`
/// and the byte offset.
[[nodiscard]] LORSA_API Json parse_json(const std::string& text, const std::string& where);

/// parse_json() of a whole file's content; the FormatError says what the file is if it is a web
/// page, a packed file, a server's answer or the like.
[[nodiscard]] LORSA_API Json parse_json_file(const std::string& text,
                                             const std::filesystem::path& path);

/// read_file + parse_json_file.
[[nodiscard]] LORSA_API Json read_json(const std::filesystem::path& path);

/// Two-space indented, newline at the end, through write_file.
LORSA_API void write_json(const std::filesystem::path& path, const Json& value);

/// write_json() with a last member "file_checksum": the xxh3_text() of the file's own bytes, its
/// sixteen digits taken as zeros. `value` must be an object without that member.
LORSA_API void write_sealed_json(const std::filesystem::path& path, const Json& value);

/// Checks the "file_checksum" of `text`, read from `where`. FormatError if it is not there or is
/// not that of the other bytes.
LORSA_API void check_seal(const std::string& text, const std::string& where);

/// read_file + parse_json_file + check_seal.
[[nodiscard]] LORSA_API Json read_sealed_json(const std::filesystem::path& path);

/// Member `key` of object `object` as T. FormatError "<where>: <key>: expected ..., found ..." if
/// absent or of another type; negative numbers are refused for unsigned T, fractions for integer T.
template <typename T>
[[nodiscard]] T member(const Json& object, const std::string& key, const std::string& where);

extern template LORSA_API int64_t member<int64_t>(const Json&,
                                                  const std::string&,
                                                  const std::string&);
extern template LORSA_API uint64_t member<uint64_t>(const Json&,
                                                    const std::string&,
                                                    const std::string&);
extern template LORSA_API double member<double>(const Json&,
                                                const std::string&,
                                                const std::string&);
extern template LORSA_API bool member<bool>(const Json&, const std::string&, const std::string&);
extern template LORSA_API std::string member<std::string>(const Json&,
                                                          const std::string&,
                                                          const std::string&);
/// Any JSON value, present.
extern template LORSA_API Json member<Json>(const Json&, const std::string&, const std::string&);

/// As member(), with a value for an absent or null key.
template <typename T>
[[nodiscard]] T member_or(const Json& object,
                          const std::string& key,
                          const std::string& where,
                          T fallback) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found == object.end() || found->is_null() ? fallback : member<T>(object, key, where);
}

}  // namespace lorsa::io
