#include "emulation/kernel_name.h"

#include <algorithm>
#include <regex>

namespace lorsa::emulation {

std::string kernel_name(const std::string& pretty_function) {
  // "void a::{anonymous}::name(const T*, b) [with T = float; int V = 4; int64_t = long int]", by
  // clang++ without "with ". Namespaces go first: "a::b" becomes "b".
  static const std::regex scopes(R"((\w+|\{anonymous\}|\(anonymous namespace\))::)");
  const std::string signature = std::regex_replace(pretty_function, scopes, "");
  const size_t parameters = std::min(signature.find('('), signature.size());
  const size_t last_space = signature.rfind(' ', parameters);
  const std::string name = signature.substr(last_space + 1, parameters - last_space - 1);

  std::string list;
  const size_t bracket = signature.rfind('[');
  static const std::regex entry(R"((?:with )?([^;\[\]]+ = [^;\[\]]+))");
  // g++ also explains types that are other names: "int64_t = long int", "Sum<T> = float".
  static const std::regex explained(R"(^(\w+_t|\w+<.*>) = )");
  const std::string entries = signature.substr(std::min(bracket, signature.size()));
  for (std::sregex_iterator i(entries.begin(), entries.end(), entry), end; i != end; ++i) {
    const std::string text = std::regex_replace((*i)[1].str(), std::regex("^ +"), "");
    if (!std::regex_search(text, explained)) {
      list += (list.empty() ? "" : ", ") + text;
    }
  }
  return list.empty() ? name : name + "<" + list + ">";
}

}  // namespace lorsa::emulation
