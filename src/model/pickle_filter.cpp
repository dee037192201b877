#include "model/pickle_filter.h"

#include <cstdint>
#include <cstring>
#include <set>

#include "lorsa/core/error.h"

// Opcodes are those of Python's pickletools.

namespace lorsa::model {
namespace {

constexpr char kGlobal = 'c';
constexpr char kUnicode = 'X';
constexpr char kLong = '\x8a';
constexpr char kReduce = 'R';
constexpr char kBuild = 'b';
constexpr char kStop = '.';
constexpr char kEmptyTuple = ')';
constexpr char kEmptyDict = '}';
constexpr char kPairTuple = '\x86';
constexpr char kPut = 'q';
constexpr char kLongPut = 'r';
constexpr char kGet = 'h';
constexpr char kLongGet = 'j';

/// The bytes of the operand, or -1 for an opcode that no state dict has.
int operand_size(char opcode) {
  switch (opcode) {
    case '(':     // MARK
    case ')':     // EMPTY_TUPLE
    case '.':     // STOP
    case '0':     // POP
    case 'N':     // NONE
    case 'Q':     // BINPERSID
    case 'R':     // REDUCE
    case ']':     // EMPTY_LIST
    case 'a':     // APPEND
    case 'b':     // BUILD
    case 'e':     // APPENDS
    case 's':     // SETITEM
    case 't':     // TUPLE
    case 'u':     // SETITEMS
    case '}':     // EMPTY_DICT
    case '\x85':  // TUPLE1
    case '\x86':  // TUPLE2
    case '\x87':  // TUPLE3
    case '\x88':  // NEWTRUE
    case '\x89':  // NEWFALSE
      return 0;
    case 'K':     // BININT1
    case 'h':     // BINGET
    case 'q':     // BINPUT
    case '\x80':  // PROTO
      return 1;
    case 'M':  // BININT2
      return 2;
    case 'J':  // BININT
    case 'j':  // LONG_BINGET
    case 'r':  // LONG_BINPUT
      return 4;
    case 'G':  // BINFLOAT
      return 8;
    default:
      return -1;
  }
}

bool is_state_dict_class(std::string_view name) {
  return name == "collections OrderedDict" || name == "torch._utils _rebuild_tensor_v2" ||
         name == "torch._utils _rebuild_parameter" || name.starts_with("torch.jit._pickle ") ||
         (name.starts_with("torch ") && name.ends_with("Storage"));
}

uint32_t little_endian(std::string_view bytes) {
  uint32_t value = 0;
  std::memcpy(&value, bytes.data(), bytes.size());
  return value;
}

class Filter {
 public:
  explicit Filter(std::string_view pickle) : in_(pickle) {}

  std::string run() {
    while (true) {
      const size_t begin = at_;
      const char opcode = take(1)[0];
      if (opcode == kGlobal) {
        global(begin);
      } else if (opcode == kGet || opcode == kLongGet) {
        const uint32_t id = little_endian(take(opcode == kGet ? 1 : 4));
        // Not a dict yet: one is made of the class by what follows.
        classes_.contains(id) ? ordered_dict() : copy(begin);
      } else if (opcode == kBuild) {
        out_ += kPairTuple;
      } else {
        skip_operand(opcode);
        copy(begin);
      }
      if (opcode == kStop) {
        return out_;
      }
    }
  }

 private:
  [[noreturn]] void refuse(const std::string& found) const {
    throw FormatError(formatted("expected the pickle of a state dict, found {}", found));
  }

  std::string_view take(size_t count) {
    if (count > in_.size() - at_) {
      refuse(formatted("its end at byte {}", in_.size()));
    }
    const std::string_view bytes = in_.substr(at_, count);
    at_ += count;
    return bytes;
  }

  std::string_view take_line() {
    const size_t end = in_.find('\n', at_);
    if (end == std::string_view::npos) {
      refuse(formatted("its end at byte {}", in_.size()));
    }
    const std::string_view line = take(end - at_);
    ++at_;
    return line;
  }

  void skip_operand(char opcode) {
    if (opcode == kUnicode) {
      take(little_endian(take(4)));
    } else if (opcode == kLong) {
      take(little_endian(take(1)));
    } else {
      const int size = operand_size(opcode);
      if (size < 0) {
        refuse(formatted("opcode {} at byte {}",
                         static_cast<int>(static_cast<unsigned char>(opcode)), at_ - 1));
      }
      take(static_cast<size_t>(size));
    }
  }

  void copy(size_t begin) { out_ += in_.substr(begin, at_ - begin); }

  [[nodiscard]] bool next_is(char opcode) const { return at_ < in_.size() && in_[at_] == opcode; }

  void global(size_t begin) {
    const std::string_view module = take_line();
    const std::string name = formatted("{} {}", module, take_line());
    if (!is_state_dict_class(name)) {
      refuse("an object of the class " + name);
    }
    if (name != "collections OrderedDict") {
      copy(begin);
      return;
    }
    if (next_is(kPut) || next_is(kLongPut)) {
      const char put = take(1)[0];
      classes_.insert(little_endian(take(put == kPut ? 1 : 4)));
    }
    ordered_dict();
  }

  /// Behind the class stand an empty tuple and REDUCE, which make the dict.
  void ordered_dict() {
    if (!next_is(kEmptyTuple) || in_.size() - at_ < 2 || in_[at_ + 1] != kReduce) {
      refuse(formatted("an OrderedDict that is not made empty, at byte {}", at_));
    }
    take(2);
    out_ += kEmptyDict;
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
  std::set<uint32_t> classes_;  // memo ids of the class OrderedDict
};

}  // namespace

std::string with_plain_dicts(std::string_view pickle) {
  return Filter(pickle).run();
}

}  // namespace lorsa::model
