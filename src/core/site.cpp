#include "lorsa/core/site.h"

#include <charconv>

#include "lorsa/core/error.h"

namespace lorsa {

const std::vector<std::pair<std::string, Component>>& component_words() {
  static const std::vector<std::pair<std::string, Component>> words = {
      {"attention", Component::kAttention}, {"mlp", Component::kMlp}};
  return words;
}

std::string to_string(Component component) {
  return component == Component::kAttention ? "attention" : "mlp";
}

std::optional<Component> component_named(std::string_view name) {
  for (const auto& [word, component] : component_words()) {
    if (word == name) {
      return component;
    }
  }
  return std::nullopt;
}

std::string to_string(const Site& site) {
  return formatted("layer {}, {}", site.layer, to_string(site.component));
}

std::string folder_name(const Site& site) {
  return formatted("layer-{}{}", site.layer, site.component == Component::kMlp ? "-mlp" : "");
}

std::optional<Site> site_of_folder(std::string_view name) {
  constexpr std::string_view kPrefix = "layer-";
  if (!name.starts_with(kPrefix)) {
    return std::nullopt;
  }
  Site site;
  const char* end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + kPrefix.size(), end, site.layer);
  if (error != std::errc() || site.layer < 0) {
    return std::nullopt;
  }
  site.component = rest == end ? Component::kAttention : Component::kMlp;
  // One name for a site: no "layer-017", nothing behind.
  return folder_name(site) == name ? std::optional(site) : std::nullopt;
}

}  // namespace lorsa
