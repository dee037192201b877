#include "emulation/kernel_name.h"

#include <algorithm>

namespace lorsa::emulation {

std::string kernel_name(const std::string& pretty_function) {
  // "void a::{anonymous}::name(const T*, b) [with T = float; int V = 4; int64_t = long int]"
  std::string signature = pretty_function;
  for (const std::string& noise : {std::string("(anonymous namespace)::"), std::string("with ")}) {
    const size_t at = signature.find(noise);
    if (at != std::string::npos) {
      signature.erase(at, noise.size());
    }
  }
  const size_t arguments = signature.find('(');
  const std::string head = signature.substr(0, arguments);
  std::string name = head.substr(head.find_last_of(": ") + 1);
  const size_t bracket = signature.find(" [", std::min(arguments, signature.size()));
  if (bracket == std::string::npos) {
    return name;
  }
  std::string list;
  for (size_t begin = bracket + 2; begin < signature.size();) {
    const size_t end = std::min(signature.find_first_of(";]", begin), signature.size());
    const std::string entry = signature.substr(begin, end - begin);
    // g++ also explains the types that are other names: "int64_t = long int".
    if (entry.find("_t = ") == std::string::npos) {
      list += (list.empty() ? "" : ", ") + entry;
    }
    begin = end + 2;
  }
  return list.empty() ? name : name + "<" + list + ">";
}

}  // namespace lorsa::emulation
