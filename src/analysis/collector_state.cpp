#include <istream>
#include <ostream>
#include <type_traits>

#include "lorsa/analysis/head_contexts.h"
#include "lorsa/core/error.h"

namespace lorsa::analysis {
namespace {

class Writer {
 public:
  explicit Writer(std::ostream& out) : out_(out) {}

  template <typename T>
  void value(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    out_.write(reinterpret_cast<const char*>(&value), sizeof(T));
  }

  template <typename Items>
  void items(const Items& items) {
    static_assert(std::is_trivially_copyable_v<typename Items::value_type>);
    value(static_cast<uint64_t>(items.size()));
    out_.write(reinterpret_cast<const char*>(items.data()),
               static_cast<std::streamsize>(items.size() * sizeof(*items.data())));
  }

 private:
  std::ostream& out_;
};

class Reader {
 public:
  Reader(std::istream& in, const std::string& where) : in_(in), where_(where) {}

  template <typename T>
  void value(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    read(&value, sizeof(T));
  }

  /// As many items as were written; `expected` of them where that is not 0.
  template <typename Items>
  void items(Items& items, size_t expected = 0) {
    static_assert(std::is_trivially_copyable_v<typename Items::value_type>);
    const size_t size = count();
    LORSA_CHECK(expected == 0 || size == expected, FormatError, "{}: expected {} of them, found {}",
                where_, expected, size);
    items.resize(size);
    read(items.data(), size * sizeof(*items.data()));
  }

  /// A number of items, none of which is more than a few in a window or of all heads' bins.
  size_t count() {
    uint64_t size = 0;
    value(size);
    LORSA_CHECK(size < (uint64_t{1} << 34), FormatError, "{}: is damaged", where_);
    return static_cast<size_t>(size);
  }

 private:
  void read(void* data, size_t bytes) {
    in_.read(static_cast<char*>(data), static_cast<std::streamsize>(bytes));
    LORSA_CHECK(in_.good(), FormatError, "{}: is cut", where_);
  }

  std::istream& in_;
  const std::string& where_;
};

/// Calls `file.value` and `file.items` with every field: of a Writer or a Reader.
template <typename File, typename Context>
void fields(File& file, Context& c) {
  file.items(c.sample);
  file.value(c.draw);
  file.value(c.row);
  file.value(c.position);
  file.value(c.value);
  file.value(c.first);
  file.items(c.activations);
  file.value(c.document);
  file.value(c.heldout);
  file.items(c.tokens);
  file.value(c.next_token);
  file.items(c.pattern);
  file.value(c.pattern_rest);
}

void write_context(Writer& file, const HeadContext& context) {
  LORSA_CHECK(!context.tokens.empty(), Error, "a context is saved before its row filled it");
  fields(file, context);
  file.value(static_cast<uint64_t>(context.outside.size()));
  for (const SourceSnippet& snippet : context.outside) {
    file.value(snippet.source);
    file.value(snippet.first);
    file.items(snippet.tokens);
  }
}

void read_context(Reader& file, HeadContext& context) {
  fields(file, context);
  context.outside.resize(file.count());
  for (SourceSnippet& snippet : context.outside) {
    file.value(snippet.source);
    file.value(snippet.first);
    file.items(snippet.tokens);
  }
}

}  // namespace

void HeadCollector::save(std::ostream& out) const {
  Writer file(out);
  file.value(num_tokens_);
  file.value(num_scored_tokens_);
  file.items(usage_);
  file.items(histograms_);
  for (const ContextHeaps* heaps : {&top_, &candidates_, &quiet_}) {
    for (int64_t head = 0; head < options_.num_heads; ++head) {
      const std::vector<HeadContext>& contexts = heaps->of_head(head);
      file.value(static_cast<uint64_t>(contexts.size()));
      for (const HeadContext& context : contexts) {
        write_context(file, context);
      }
    }
  }
}

void HeadCollector::load(std::istream& in, const std::string& where) {
  Reader file(in, where);
  file.value(num_tokens_);
  file.value(num_scored_tokens_);
  file.items(usage_, usage_.size());
  file.items(histograms_, histograms_.size());
  for (ContextHeaps* heaps : {&top_, &candidates_, &quiet_}) {
    for (int64_t head = 0; head < options_.num_heads; ++head) {
      // A heap is saved in its order, which is that of a heap.
      std::vector<HeadContext>& contexts = heaps->of_head(head);
      contexts.resize(file.count());
      for (HeadContext& context : contexts) {
        read_context(file, context);
      }
    }
  }
}

}  // namespace lorsa::analysis
