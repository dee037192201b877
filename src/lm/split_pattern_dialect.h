#pragma once

#include <string>

namespace lorsa::lm {

/// Throws FormatError, naming the construct and its offset, unless `pattern` means the same to
/// PCRE2 (UTF, UCP, newline LF, over with_stand_ins() text) as to Oniguruma, which the `tokenizers`
/// package runs.
///
/// Accepted: literals; \r \n \t \f, \s \S \d \D, \p{..} \P{..} with a general category, \x{..},
/// escaped punctuation; `.`; classes without nesting; groups ( (?: (?i: (?> (?= (?! (?<= (?<! ;
/// alternatives;
/// * + ? {n} {n,} {n,m}, lazy, and possessive but for {}.
void check_split_dialect(const std::string& pattern, const std::string& where);

/// The same for a literal pattern: only characters that have a stand-in are refused.
void check_split_literal(const std::string& literal, const std::string& where);

}  // namespace lorsa::lm
