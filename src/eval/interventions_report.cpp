#include <cmath>
#include <iomanip>
#include <sstream>
#include <utility>

#include "lorsa/core/error.h"
#include "lorsa/eval/interventions.h"

namespace lorsa::eval {
namespace {

// Widths of the table's columns.
constexpr int kName = 24;
constexpr int kNumber = 12;
constexpr size_t kToken = 20;
constexpr size_t kPrompt = 60;

// JSON has no NaN.
io::Json number_or_null(double value) {
  return std::isfinite(value) ? io::Json(value) : io::Json(nullptr);
}

io::Json effect_json(const RowsEffect& rows) {
  io::Json json = {{"num_predictions", rows.edited.num_predictions},
                   {"ce_original", number_or_null(rows.edited.ce_original)},
                   {"ce_edited", number_or_null(rows.edited.ce_edited)},
                   {"rise", number_or_null(rows.edited.rise())},
                   {"kl", number_or_null(rows.edited.kl)}};
  if (!rows.control.empty()) {
    json["control_rises"] = io::Json::array();
    json["control_kls"] = io::Json::array();
    for (const EditEffect& effect : rows.control) {
      json["control_rises"].push_back(number_or_null(effect.rise()));
      json["control_kls"].push_back(number_or_null(effect.kl));
    }
    json["control_rise"] = number_or_null(rows.control_rise());
    json["control_kl"] = number_or_null(rows.control_kl());
    json["rise_ratio"] = number_or_null(rows.rise_ratio());
    json["kl_ratio"] = number_or_null(rows.kl_ratio());
  }
  return json;
}

io::Json tokens_json(const std::vector<TokenShift>& shifts, const PromptReport& report) {
  io::Json list = io::Json::array();
  for (const TokenShift& shift : shifts) {
    list.push_back({{"token", shift.token},
                    {"text", report.token_text.at(shift.token)},
                    {"before", shift.before},
                    {"after", shift.after}});
  }
  return list;
}

/// Text on one line, cut behind `most` characters (not bytes); padded to `width` of them.
std::string one_line(const std::string& text, size_t most, size_t width) {
  std::string out;
  size_t characters = 0;
  for (size_t i = 0; i < text.size() && characters < most; ++characters) {
    size_t end = i + 1;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) {
      ++end;
    }
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == '\n') {
      out += "\u21B5";
    } else {
      out += byte < 0x20 || byte == 0x7F ? "\uFFFD" : text.substr(i, end - i);
    }
    i = end;
  }
  return out + std::string(characters < width ? width - characters : 0, ' ');
}

void effect_line(std::ostringstream& out, const std::string& name, const EditEffect& effect) {
  out << "  " << std::left << std::setw(kName) << name << std::right << std::setw(kNumber)
      << effect.num_predictions;
  for (const double value : {effect.ce_original, effect.ce_edited, effect.rise(), effect.kl}) {
    out << std::setw(kNumber) << value;
  }
  out << '\n';
}

void control_line(std::ostringstream& out, const std::string& name, const RowsEffect& rows) {
  out << "  " << std::left << std::setw(kName) << name << std::right;
  for (const double value : {rows.edited.rise(), rows.control_rise(), rows.rise_ratio(),
                             rows.edited.kl, rows.control_kl(), rows.kl_ratio()}) {
    out << std::setw(kNumber);
    // The control's rise may be none at all.
    std::isfinite(value) ? out << value : out << "-";
  }
  out << '\n';
}

void header(std::ostringstream& out, std::initializer_list<const char*> columns) {
  out << "  " << std::setw(kName) << "";
  for (const char* column : columns) {
    out << std::setw(kNumber) << column;
  }
  out << '\n';
}

void prompt_table(std::ostringstream& out, const PromptReport& report) {
  const PromptEffect& effect = report.effect;
  constexpr int kColumn = static_cast<int>(kToken) + 22;
  out << "after '" << one_line(report.prompt, kPrompt, 0) << "', kl " << effect.kl
      << "; tokens with their probability before and after\n"
      << "  " << std::left << std::setw(kColumn) << "most probable before" << std::setw(kColumn)
      << "most probable after"
      << "most changed\n"
      << std::right;
  for (size_t i = 0; i < effect.before.size(); ++i) {
    for (const auto* list : {&effect.before, &effect.after, &effect.changed}) {
      const TokenShift& shift = (*list)[i];
      out << "  " << one_line(formatted("'{}'", report.token_text.at(shift.token)), kToken, kToken)
          << std::setw(10) << shift.before << std::setw(10) << shift.after;
    }
    out << '\n';
  }
}

std::string edits_text(const InterventionReport& report) {
  std::string text;
  if (!report.ablated.empty()) {
    text = formatted("{}{} ablated", report.ablated.size(),
                     report.ablated.size() == 1 ? " head" : " heads");
  }
  for (const HeadEdit& edit : report.steered) {
    text += formatted("{}head {} set to {}", text.empty() ? "" : ", ", edit.head, edit.value);
  }
  return text;
}

std::string repeated_name(const InterventionReport& report) {
  return formatted("repeated, 2 x {} tokens", report.repeat.period);
}

}  // namespace

io::Json to_json(const InterventionReport& r) {
  io::Json json;
  json["ablated_heads"] = r.ablated;
  json["steered_heads"] = io::Json::array();
  for (const HeadEdit& edit : r.steered) {
    json["steered_heads"].push_back({{"head", edit.head}, {"value", edit.value}});
  }
  json["heldout"] = effect_json(r.heldout);
  json["repeated_tokens"] = effect_json(r.repeated);
  json["repeated_tokens"]["num_rows"] = r.repeat.num_rows;
  json["repeated_tokens"]["period"] = r.repeat.period;
  json["repeated_tokens"]["seed"] = r.repeat.seed;
  if (!r.prompts.empty()) {
    json["prompt_text"] = effect_json(r.prompt_text);
  }
  if (!r.control.draws.empty()) {
    json["random_control"] = {{"num_candidates", r.control.num_candidates},
                              {"draws", r.control.draws}};
  }
  json["prompts"] = io::Json::array();
  for (const PromptReport& prompt : r.prompts) {
    json["prompts"].push_back({{"prompt", prompt.prompt},
                               {"num_tokens", prompt.num_tokens},
                               {"kl", number_or_null(prompt.effect.kl)},
                               {"most_probable_before", tokens_json(prompt.effect.before, prompt)},
                               {"most_probable_after", tokens_json(prompt.effect.after, prompt)},
                               {"most_changed", tokens_json(prompt.effect.changed, prompt)}});
  }
  return json;
}

std::string to_table(const InterventionReport& r) {
  std::ostringstream out;
  out << std::setprecision(4) << std::fixed;
  out << "interventions: " << edits_text(r) << '\n';
  header(out, {"predictions", "ce_original", "ce_edited", "rise", "kl"});
  effect_line(out, "held-out rows", r.heldout.edited);
  effect_line(out, repeated_name(r), r.repeated.edited);
  if (!r.prompts.empty()) {
    effect_line(out, "text of the prompts", r.prompt_text.edited);
  }
  if (!r.control.draws.empty()) {
    out << "against as many random heads of the " << r.control.num_candidates
        << " others that act on the held-out rows: mean of " << r.control.draws.size()
        << " draws, seeds 0 to " << r.control.draws.size() - 1 << '\n';
    header(out, {"rise", "control", "ratio", "kl", "control", "ratio"});
    control_line(out, "held-out rows", r.heldout);
    control_line(out, repeated_name(r), r.repeated);
    if (!r.prompts.empty()) {
      control_line(out, "text of the prompts", r.prompt_text);
    }
  }
  for (const PromptReport& prompt : r.prompts) {
    prompt_table(out, prompt);
  }
  return out.str();
}

}  // namespace lorsa::eval
