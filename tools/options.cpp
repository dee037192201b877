#include "options.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <vector>

#include "lorsa/config/fields.h"
#include "lorsa/config/suggest.h"
#include "lorsa/core/error.h"

namespace lorsa::tools {
namespace {

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

/// What is wrong with `text` for a field; nothing if it is legal.
std::string wrong_with(const config::Field& field, const std::string& text) {
  try {
    field.check(text);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return {};
}

/// What stands behind an option's name in --help.
std::string type_name(const config::Field& field) {
  std::string words;
  for (const std::string& choice : field.choices) {
    words += (words.empty() ? "" : "|") + choice;
  }
  return !words.empty()                   ? words
         : field.type == "path"           ? "PATH"
         : field.type == "list of counts" ? "N,..."
         : field.type == "count"          ? "N"
         : field.type == "number"         ? "X"
                                          : "TEXT";
}

CLI::Validator count_in(double least, double most) {
  const auto check = [least, most](std::string& text) {
    int64_t value = 0;
    config::Fields fields;
    fields.count("count", value, "").between(least, most);
    std::string wrong = wrong_with(fields.all().front(), text);
    if (wrong.empty()) {
      text = std::to_string(config::parse_count(text));
    }
    return wrong;
  };
  return {check, std::string()};
}

std::string join(const std::vector<std::string>& words, const std::string& last) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == words.size() ? last : ", ") + words[i];
  }
  return text;
}

/// The command that was being read: a subcommand, if one was named.
const CLI::App& command_of(const CLI::App& app) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  return chosen.empty() ? app : *chosen.front();
}

std::string name_of(const CLI::App& app, const CLI::App& command) {
  return &app == &command ? app.get_name() : app.get_name() + " " + command.get_name();
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command :
       app.get_subcommands([](const CLI::App* each) { return !each->get_name().empty(); })) {
    names.push_back(command->get_name());
  }
  return names;
}

/// "lorsa-eval needs CHECKPOINT and --cache".
std::string missing(const CLI::App& app, const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_required() && option->count() == 0) {
      names.push_back(option->get_name());
    }
  }
  if (names.empty()) {
    return formatted("{} needs a command: {}", name_of(app, command),
                     join(command_names(command), " or "));
  }
  return formatted("{} needs {}", name_of(app, command), join(names, " and "));
}

/// "unknown option --max-row; did you mean --max-rows?"
std::string unexpected(const CLI::App& app, const CLI::App& command) {
  const std::vector<std::string> rest = app.remaining(true);
  const auto dashed = std::find_if(rest.begin(), rest.end(),
                                   [](const std::string& each) { return each.starts_with('-'); });
  if (dashed == rest.end()) {
    const std::vector<std::string> commands = command_names(command);
    const std::string found = rest.empty() ? "" : rest.front();
    return commands.empty()
               ? formatted("unexpected argument '{}'", found)
               : formatted("unknown command '{}'; commands: {}", found, join(commands, ", "));
  }
  const std::string name = dashed->substr(0, dashed->find('='));
  std::vector<std::string> known;
  bool has_keys = false;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& each : option->get_lnames()) {
      known.push_back("--" + each);
      has_keys = has_keys || each == "set";
    }
  }
  const std::string near = config::nearest(name, known);
  return formatted("unknown option {}{}", name,
                   !near.empty() ? "; did you mean " + near + "?"
                   : has_keys && name.find('.') != std::string::npos
                       ? "; keys are set by --set KEY=VALUE"
                       : std::string());
}

/// CLI11's "--out: 1 required FILE missing" and "--out: At Most 1 required but received 2".
std::string mismatch(const std::string& message) {
  const std::string name = message.substr(0, message.find(':'));
  if (message.ends_with(" missing")) {
    return formatted("{}: expected a value behind it, found nothing", name);
  }
  const size_t received = message.rfind("received ");
  return received == std::string::npos
             ? message
             : formatted("{}: expected once, found {} times", name, message.substr(received + 9));
}

/// CLI11's "Could not convert: --quiet = maybe", which only flags are left to say.
std::string conversion(const std::string& message) {
  const size_t name = message.find(": ");
  const size_t equals = message.find(" = ");
  return name == std::string::npos || equals == std::string::npos
             ? message
             : formatted("{}: expected no value, found '{}'",
                         message.substr(name + 2, equals - name - 2), message.substr(equals + 3));
}

std::string what_is_wrong(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = command_of(app);
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    return unexpected(app, command);
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    // A command that is unknown is not missing.
    return &command == &app && !app.remaining(true).empty() ? unexpected(app, command)
                                                            : missing(app, command);
  }
  const std::string message = first_line(error.what());
  if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr) {
    return conversion(message);
  }
  return dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr ? mismatch(message)
                                                                       : message;
}

}  // namespace

CLI::Validator count_between(int64_t least, int64_t most) {
  return count_in(static_cast<double>(least), static_cast<double>(most));
}

CLI::Validator filled(const std::string& what) {
  const auto check = [what](std::string& text) {
    return text.empty() ? formatted("expected {}, found an empty text (is a variable unset?)", what)
                        : std::string();
  };
  return {check, std::string()};
}

void add_fields(CLI::App& app, const config::Fields& fields) {
  for (const config::Field& field : fields.all()) {
    std::string name = "--" + field.key;
    std::replace(name.begin(), name.end(), '_', '-');
    const std::string help = field.help.substr(0, field.help.size() - 1);  // without its period
    if (field.type == "boolean") {
      app.add_flag_callback(
          name, [&field] { field.set({"true"}); }, help);
      continue;
    }
    CLI::Option* option = nullptr;
    if (field.is_list) {
      option =
          app.add_option_function<std::vector<std::string>>(
                 name, [&field](const std::vector<std::string>& texts) { field.set(texts); }, help)
              ->allow_extra_args(false);
      if (field.type == "list of counts") {
        option->delimiter(',');
      }
    } else {
      option = app.add_option_function<std::string>(
          name, [&field](const std::string& text) { field.set({text}); }, help);
      // A default that may not be given says that there is none.
      const bool is_legal = wrong_with(field, field.default_text).empty();
      option->default_str(is_legal && field.default_text != "\"\"" ? field.default_text : "");
    }
    const auto check = [&field](std::string& text) { return wrong_with(field, text); };
    option->type_name(type_name(field))->required(field.required);
    option->check(field.type == "path" ? filled("a path")
                  : field.type == "text" || field.type == "list of text"
                      ? filled("a text")
                      : CLI::Validator(check, std::string()));
  }
}

std::string with_option_names(const CLI::App& app, const std::string& message) {
  std::string text = message;
  for (const CLI::Option* option : command_of(app).get_options()) {
    for (const std::string& name : option->get_lnames()) {
      std::string key = "`" + name + "`";
      std::replace(key.begin(), key.end(), '-', '_');
      for (size_t at = text.find(key); at != std::string::npos; at = text.find(key, at)) {
        text.replace(at, key.size(), "--" + name);
      }
    }
  }
  return text;
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

std::string usage_message(const CLI::App& app, const CLI::ParseError& error) {
  return formatted("{} (see {} --help)", what_is_wrong(app, error), name_of(app, command_of(app)));
}

}  // namespace lorsa::tools
