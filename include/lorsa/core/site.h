#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lorsa/core/api.h"

namespace lorsa {

/// A part of a transformer block that a dictionary can stand for.
enum class Component { kAttention, kMlp };

/// One component of one layer: what it reads and what it writes.
///
/// Its input is what the norm before it gives: x / rms(x), before the gain, for an RMS norm, the
/// norm's output for a layer norm. Its output is what W_O or the MLP's last matrix gives, before it
/// is added to the residual stream.
struct Site {
  int64_t layer = 0;
  Component component = Component::kAttention;

  auto operator<=>(const Site&) const = default;  // NOLINT(modernize-use-nullptr)
};

/// The words for them: "attention", "mlp".
[[nodiscard]] LORSA_API const std::vector<std::pair<std::string, Component>>& component_words();
[[nodiscard]] LORSA_API std::string to_string(Component component);

/// The component that to_string() would call `name`, if there is one.
[[nodiscard]] LORSA_API std::optional<Component> component_named(std::string_view name);

/// "layer 17, attention": for messages.
[[nodiscard]] LORSA_API std::string to_string(const Site& site);

/// The folder of a site's cache: "layer-17" for attention, "layer-17-mlp".
[[nodiscard]] LORSA_API std::string folder_name(const Site& site);

/// The site that folder_name() would call `name`, if there is one.
[[nodiscard]] LORSA_API std::optional<Site> site_of_folder(std::string_view name);

}  // namespace lorsa
