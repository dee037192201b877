#include <string_view>

#include "lorsa/config/fields.h"

namespace lorsa::config {
namespace {

// Splits the fields the way all printed forms show them: the top level first, then every section
// in order of opening.
template <typename OnSection, typename OnField>
void visit(const Fields& fields, const OnSection& on_section, const OnField& on_field) {
  for (const Field& field : fields.all()) {
    if (field.key.find('.') == std::string::npos) {
      on_field(field, std::string_view(field.key));
    }
  }
  for (const auto& [section, help] : fields.sections()) {
    on_section(section, help);
    const std::string prefix = section + ".";
    for (const Field& field : fields.all()) {
      if (field.key.starts_with(prefix)) {
        on_field(field, std::string_view(field.key).substr(prefix.size()));
      }
    }
  }
}

std::string type_of(const Field& field) {
  std::string type = field.type;
  for (size_t i = 0; i < field.choices.size(); ++i) {
    type += (i == 0 ? " " : ", ") + field.choices[i];
  }
  return type;
}

// A cell of a Markdown table.
std::string cell(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    escaped += c == '|' ? "\\|" : std::string(1, c == '\n' ? ' ' : c);
  }
  return escaped;
}

std::string code(const std::string& text) {
  return text.empty() ? "" : "`" + text + "`";
}

}  // namespace

std::string to_yaml(const Fields& fields) {
  std::string yaml;
  std::string indent;
  visit(
      fields,
      [&](const std::string& section, const std::string&) {
        yaml += section + ":\n";
        indent = "  ";
      },
      [&](const Field& field, std::string_view name) {
        yaml.append(indent).append(name).append(": ").append(field.get()).append("\n");
      });
  return yaml;
}

std::string help_text(const Fields& fields) {
  std::string text = "Configuration keys (in the YAML file, or --set section.key=value):\n";
  visit(
      fields,
      [&](const std::string& section, const std::string& help) {
        text.append("\n").append(section).append(": ").append(help).append("\n");
      },
      [&](const Field& field, std::string_view name) {
        text.append("  ").append(name).append(": ").append(type_of(field));
        if (!field.range.empty()) {
          text.append(", ").append(field.range);
        }
        text.append(field.required ? ", required" : ", default " + field.default_text);
        text.append("\n      ").append(field.help).append("\n");
      });
  return text;
}

std::string to_markdown(const Fields& fields) {
  const std::string head = "| key | type | default | range | meaning |\n|---|---|---|---|---|\n";
  std::string text;
  visit(
      fields,
      [&](const std::string& section, const std::string& help) {
        text += text.empty() ? "" : "\n";
        text.append("### ").append(code(section)).append("\n\n").append(help).append("\n\n");
        text += head;
      },
      [&](const Field& field, std::string_view name) {
        text += text.empty() ? head : "";
        text.append("| ").append(code(std::string(name))).append(" | ");
        text.append(cell(type_of(field))).append(" | ");
        text.append(field.required ? "required" : code(cell(field.default_text))).append(" | ");
        text.append(cell(field.range)).append(" | ").append(cell(field.help)).append(" |\n");
      });
  return text;
}

}  // namespace lorsa::config
