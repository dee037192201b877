#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace lorsa::lm {

/// What one thread needs to run patterns: made once for an encode call, used by any pattern.
class MatchBuffer {
 public:
  MatchBuffer();
  ~MatchBuffer();
  MatchBuffer(const MatchBuffer&) = delete;
  MatchBuffer& operator=(const MatchBuffer&) = delete;

 private:
  friend class SplitPattern;
  void* data_;  // pcre2_match_data
};

struct Match {
  size_t begin;
  size_t end;
};

/// A compiled regular expression over UTF-8 (PCRE2, compiled to machine code where that is there).
/// Immutable; any number of threads may search, each with its own buffer.
class SplitPattern {
 public:
  enum class Kind { kRegex, kLiteral };

  /// Throws FormatError that starts with `where` if `pattern` does not compile, is empty, or is
  /// outside the dialect of check_split_dialect().
  SplitPattern(const std::string& pattern, Kind kind, const std::string& where);
  ~SplitPattern();
  SplitPattern(SplitPattern&&) noexcept;
  SplitPattern& operator=(SplitPattern&&) noexcept;

  /// The first match at or behind byte `from`. `text` must be valid UTF-8 with stand-ins put in
  /// (with_stand_ins()); it is not checked again. False if there is none.
  [[nodiscard]] bool find(std::string_view text,
                          size_t from,
                          MatchBuffer& buffer,
                          Match& match) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace lorsa::lm
