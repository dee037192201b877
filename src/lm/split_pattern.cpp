#include "lm/split_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <new>

#include "lm/split_pattern_dialect.h"
#include "lm/utf8.h"
#include "lorsa/core/error.h"

namespace lorsa::lm {
namespace {

std::string error_text(int code) {
  PCRE2_UCHAR text[256];
  if (pcre2_get_error_message(code, text, sizeof text) < 0) {
    return formatted("PCRE2 error {}", code);
  }
  return std::string(text, std::find(text, text + sizeof text, PCRE2_UCHAR{0}));
}

template <typename T, void (*destroy)(T*)>
struct Destroy {
  void operator()(T* object) const noexcept { destroy(object); }
};

using Code = std::unique_ptr<pcre2_code, Destroy<pcre2_code, pcre2_code_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context,
                                       Destroy<pcre2_compile_context, pcre2_compile_context_free>>;
using MatchContext =
    std::unique_ptr<pcre2_match_context, Destroy<pcre2_match_context, pcre2_match_context_free>>;

Code compile(const std::string& pattern, uint32_t options, const std::string& where) {
  const CompileContext context(pcre2_compile_context_create(nullptr));
  if (!context) {
    throw std::bad_alloc();
  }
  // `.` excludes only the line feed, whatever the library was built with.
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  PCRE2_SIZE offset = 0;
  Code compiled(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options,
                              &code, &offset, context.get()));
  LORSA_CHECK(compiled != nullptr, FormatError,
              "{}: expected a regular expression, found \"{}\": byte {}: {}", where, pattern,
              offset, error_text(code));
  return compiled;
}

}  // namespace

MatchBuffer::MatchBuffer() : data_(pcre2_match_data_create(1, nullptr)) {
  if (data_ == nullptr) {
    throw std::bad_alloc();
  }
}

MatchBuffer::~MatchBuffer() {
  pcre2_match_data_free(static_cast<pcre2_match_data*>(data_));
}

struct SplitPattern::Impl {
  std::string pattern;
  Code code;
  MatchContext context;
  bool jit = false;
};

SplitPattern::SplitPattern(const std::string& pattern, Kind kind, const std::string& where) {
  LORSA_CHECK(!pattern.empty(), FormatError, "{}: expected a pattern, found empty text", where);
  auto impl = std::make_unique<Impl>();
  impl->pattern = pattern;
  if (kind == Kind::kLiteral) {
    check_split_literal(pattern, where);
    impl->code = compile(pattern, PCRE2_UTF | PCRE2_LITERAL, where);
  } else {
    check_split_dialect(pattern, where);
    impl->code = compile(pattern, PCRE2_UTF | PCRE2_UCP, where);
  }
  impl->context.reset(pcre2_match_context_create(nullptr));
  if (!impl->context) {
    throw std::bad_alloc();
  }
  // The limits guard against hostile patterns; here they would only refuse long texts.
  pcre2_set_match_limit(impl->context.get(), std::numeric_limits<uint32_t>::max());
  pcre2_set_depth_limit(impl->context.get(), std::numeric_limits<uint32_t>::max());
  impl->jit = pcre2_jit_compile(impl->code.get(), PCRE2_JIT_COMPLETE) == 0;
  impl_ = std::move(impl);
}

SplitPattern::~SplitPattern() = default;
SplitPattern::SplitPattern(SplitPattern&&) noexcept = default;
SplitPattern& SplitPattern::operator=(SplitPattern&&) noexcept = default;

bool SplitPattern::find(std::string_view text,
                        size_t from,
                        MatchBuffer& buffer,
                        Match& match) const {
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  auto* const data = static_cast<pcre2_match_data*>(buffer.data_);
  int result = PCRE2_ERROR_JIT_STACKLIMIT;
  if (impl_->jit) {
    result = pcre2_jit_match(impl_->code.get(), subject, text.size(), from, 0, data,
                             impl_->context.get());
  }
  // Machine code has 32 KiB of stack here; a pattern that repeats a group over a long text can need
  // more. The interpreter keeps its state on the heap. NO_UTF_CHECK: checking the rest of the text
  // at every match would be quadratic.
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
    result = pcre2_match(impl_->code.get(), subject, text.size(), from,
                         PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, impl_->context.get());
  }
  if (result == PCRE2_ERROR_NOMATCH) {
    return false;
  }
  LORSA_CHECK(result >= 0, FormatError,
              "matching \"{}\" failed at byte {} of a piece of {} bytes: {}", impl_->pattern, from,
              text.size(), error_text(result));
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data);
  match = {bounds[0], bounds[1]};
  return true;
}

}  // namespace lorsa::lm
