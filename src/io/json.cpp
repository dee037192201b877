// Strict JSON over nlohmann's SAX parser. Own tree building instead of nlohmann's, because that one
// keeps the last of duplicate keys, and because inserting into its ordered objects searches all
// earlier keys: quadratic for a tokenizer's vocabulary.
#include "lorsa/io/json.h"

#include <cmath>
#include <cstddef>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "core/file_content.h"
#include "lorsa/core/error.h"
#include "lorsa/io/checksum.h"
#include "lorsa/io/files.h"

namespace lorsa::io {
namespace {

// Deeper nesting is no configuration of ours, and copies and dumps of the tree recurse.
constexpr size_t kMaxDepth = 256;

// Counts what the parser consumed, since its events do not say where they are.
struct CountingIterator {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  const char* at;
  size_t* count;

  reference operator*() const { return *at; }

  CountingIterator& operator++() {
    ++at;
    if (count != nullptr) {
      ++*count;
    }
    return *this;
  }

  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }

  bool operator==(const CountingIterator& other) const { return at == other.at; }

  bool operator!=(const CountingIterator& other) const { return at != other.at; }
};

class TreeBuilder : public nlohmann::json_sax<Json> {
 public:
  TreeBuilder(const std::string& where, const size_t& offset) : where_(where), offset_(offset) {}

  bool null() override { return put(nullptr); }

  bool boolean(bool value) override { return put(value); }

  bool number_integer(Json::number_integer_t value) override { return put(value); }

  bool number_unsigned(Json::number_unsigned_t value) override { return put(value); }

  bool number_float(Json::number_float_t value, const std::string& /*text*/) override {
    return put(value);
  }

  bool string(std::string& value) override { return put(std::move(value)); }

  bool binary(Json::binary_t& /*value*/) override { return false; }

  bool start_object(size_t /*size*/) override { return open(Json::object()); }

  bool end_object() override {
    keys_.pop_back();
    return close();
  }

  bool start_array(size_t /*size*/) override { return open(Json::array()); }

  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    LORSA_CHECK(keys_.back().insert(name).second, FormatError,
                "{}: byte {}: expected unique keys, found \"{}\" twice", where_, offset_, name);
    // The base class' emplace_back: no search, the set above knows.
    auto& members = *open_.back()->get_ptr<Json::object_t*>();
    static_cast<Json::object_t::Container&>(members).emplace_back(name, nullptr);
    return true;
  }

  bool parse_error(size_t position,
                   const std::string& /*last_token*/,
                   const nlohmann::detail::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error ..."
    const std::string text = error.what();
    const size_t bracket = text.find("] ");
    throw FormatError(formatted("{}: byte {}: expected JSON, found {}", where_, position,
                                bracket == std::string::npos ? text : text.substr(bracket + 2)));
  }

  Json take() { return std::move(root_); }

 private:
  template <typename Value>
  bool put(Value&& value) {
    place(Json(std::forward<Value>(value)));
    return true;
  }

  // An open container is always the last element of its parent, so its address stays.
  Json* place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (auto* elements = parent.get_ptr<Json::array_t*>()) {
      elements->push_back(std::move(value));
      return &elements->back();
    }
    Json& member = parent.get_ptr<Json::object_t*>()->back().second;
    member = std::move(value);
    return &member;
  }

  bool open(Json container) {
    LORSA_CHECK(open_.size() < kMaxDepth, FormatError,
                "{}: byte {}: expected {} nested levels at most", where_, offset_, kMaxDepth);
    if (container.is_object()) {
      keys_.emplace_back();
    }
    Json* placed = place(std::move(container));
    open_.push_back(placed);
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& where_;
  const size_t& offset_;
  Json root_;
  std::vector<Json*> open_;
  std::vector<std::unordered_set<std::string>> keys_;
};

std::string describe(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 60) {
    text = text.substr(0, 57) + "...";
  }
  return text;
}

template <typename T>
struct Reader;

template <>
struct Reader<Json> {
  static constexpr std::string_view kName = "a value";

  static bool fits(const Json& /*value*/) { return true; }
};

template <>
struct Reader<std::string> {
  static constexpr std::string_view kName = "text";

  static bool fits(const Json& value) { return value.is_string(); }
};

template <>
struct Reader<bool> {
  static constexpr std::string_view kName = "true or false";

  static bool fits(const Json& value) { return value.is_boolean(); }
};

template <>
struct Reader<double> {
  static constexpr std::string_view kName = "a number";

  static bool fits(const Json& value) { return value.is_number(); }
};

template <>
struct Reader<int64_t> {
  static constexpr std::string_view kName = "a whole number below 2^63";

  static bool fits(const Json& value) {
    constexpr auto kLargest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    return value.is_number_unsigned() ? value.get<uint64_t>() <= kLargest
                                      : value.is_number_integer();
  }
};

template <>
struct Reader<uint64_t> {
  static constexpr std::string_view kName = "a whole number, 0 or more";

  // Values set in C++ may be held as signed.
  static bool fits(const Json& value) {
    return value.is_number_unsigned() || (value.is_number_integer() && value.get<int64_t>() >= 0);
  }
};

constexpr const char* kSealKey = "file_checksum";
constexpr std::string_view kSealPrefix = "xxh3:";
constexpr size_t kSealDigits = 16;

/// Where the digits of the seal stand in `text`. A quote inside a JSON string is written \", so the
/// member cannot be mistaken for text.
size_t seal_digits(const std::string& text, const std::string& where) {
  const std::string member = formatted("\"{}\": \"{}", kSealKey, kSealPrefix);
  const size_t found = text.rfind(member);
  LORSA_CHECK(found != std::string::npos && found + member.size() + kSealDigits < text.size(),
              FormatError, "{}: {}: expected \"{}\" and {} digits, found nothing of that form",
              where, kSealKey, kSealPrefix, kSealDigits);
  return found + member.size();
}

}  // namespace

Json finite_or_null(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json parse_json(const std::string& text, const std::string& where) {
  size_t offset = 0;
  TreeBuilder builder(where, offset);
  const CountingIterator first{text.data(), &offset};
  const CountingIterator last{text.data() + text.size(), nullptr};
  Json::sax_parse(first, last, &builder);
  return builder.take();
}

Json parse_json_file(const std::string& text, const std::filesystem::path& path) {
  const FileContent what = content_of(std::string_view(text).substr(0, kContentBytes), text.size());
  const auto refuse = [&] {
    throw FormatError(formatted("{}: expected JSON, found {}; {}", path, what.found, what.next));
  };
  Json json;
  try {
    json = parse_json(text, path.string());
  } catch (const FormatError& error) {
    if (what.content == Content::kText) {
      throw FormatError(formatted("{}; the file is {}", error.what(), what.found));
    }
    if (what.content != Content::kUnknown && what.content != Content::kJson) {
      refuse();
    }
    throw;
  }
  // An answer of a server is JSON, too; none of the files that are read here begins so.
  constexpr size_t kMaxAnswerKeys = 4;
  if (what.content == Content::kServerAnswer && json.size() <= kMaxAnswerKeys) {
    refuse();
  }
  return json;
}

Json read_json(const std::filesystem::path& path) {
  return parse_json_file(read_file(path), path);
}

void write_json(const std::filesystem::path& path, const Json& value) {
  write_file(path, value.dump(2) + "\n");
}

void write_sealed_json(const std::filesystem::path& path, const Json& value) {
  Json sealed = value;
  sealed[kSealKey] = xxh3_text(0);
  std::string text = sealed.dump(2) + "\n";
  text.replace(seal_digits(text, path.string()), kSealDigits,
               xxh3_text(xxh3(text.data(), text.size())).substr(kSealPrefix.size()));
  write_file(path, text);
}

void check_seal(const std::string& text, const std::string& where) {
  const size_t digits = seal_digits(text, where);
  std::string blank = text;
  blank.replace(digits, kSealDigits, kSealDigits, '0');
  const std::string expected = xxh3_text(xxh3(blank.data(), blank.size()));
  const std::string found = formatted("{}{}", kSealPrefix, text.substr(digits, kSealDigits));
  LORSA_CHECK(
      found == expected, FormatError,
      "{}: {}: expected {} for the bytes of this file, found {} (the file was damaged or edited)",
      where, kSealKey, expected, found);
}

Json read_sealed_json(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  Json json = parse_json_file(text, path);
  check_seal(text, path.string());
  return json;
}

template <typename T>
T member(const Json& object, const std::string& key, const std::string& where) {
  LORSA_CHECK(object.is_object(), FormatError, "{}: expected an object with \"{}\", found {}",
              where, key, describe(object));
  const auto found = object.find(key);
  LORSA_CHECK(found != object.end(), FormatError, "{}: {}: expected {}, found nothing", where, key,
              Reader<T>::kName);
  LORSA_CHECK(Reader<T>::fits(*found), FormatError, "{}: {}: expected {}, found {}", where, key,
              Reader<T>::kName, describe(*found));
  return found->template get<T>();
}

template int64_t member<int64_t>(const Json&, const std::string&, const std::string&);
template uint64_t member<uint64_t>(const Json&, const std::string&, const std::string&);
template double member<double>(const Json&, const std::string&, const std::string&);
template bool member<bool>(const Json&, const std::string&, const std::string&);
template std::string member<std::string>(const Json&, const std::string&, const std::string&);
template Json member<Json>(const Json&, const std::string&, const std::string&);

}  // namespace lorsa::io
