#include "eval/interventions.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/seed.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/core/text.h"
#include "lorsa/core/utf8.h"
#include "lorsa/io/files.h"

namespace lorsa::eval {
namespace {

std::vector<std::string> all_prompts(std::vector<std::string> prompts,
                                     const std::filesystem::path& file) {
  if (!file.empty()) {
    const std::vector<std::string> lines = filled_lines(io::read_text(file));
    LORSA_CHECK(!lines.empty(), ConfigError,
                "`prompts` {}: expected a prompt on every line, found none", file);
    prompts.insert(prompts.end(), lines.begin(), lines.end());
  }
  return prompts;
}

/// A row of the cache's kind: BOS first if its rows have one, though the text may bring it itself;
/// edited where the cache's positions are scored.
InterventionPlan::Prompt tokenized(const std::string& text,
                                   const lm::Tokenizer& tokenizer,
                                   const data::Manifest& manifest) {
  const size_t invalid = find_invalid_utf8(text);
  LORSA_CHECK(invalid == std::string::npos, ConfigError,
              "`prompt`: expected UTF-8, found something else at byte {} of '{}'", invalid,
              replace_invalid_utf8(text));
  std::vector<int32_t> tokens;
  const std::vector<int32_t> ids = tokenizer.encode(text, lm::SpecialTokens::kNone);
  auto first = ids.begin();
  if (manifest.prepend_bos && tokenizer.bos_id()) {
    const int32_t bos = *tokenizer.bos_id();
    first = std::find_if(first, ids.end(), [&](int32_t id) { return id != bos; });
    tokens.push_back(bos);
  }
  const auto start = static_cast<int64_t>(tokens.size());
  tokens.insert(tokens.end(), first, ids.end());
  InterventionPlan::Prompt prompt{text, at::tensor(tokens, at::kInt), {}, first != ids.begin()};
  prompt.edited_T = at::arange(prompt.tokens_T.numel()) >= start;
  for (const int64_t id : manifest.unscored_ids) {
    prompt.edited_T.logical_and_(prompt.tokens_T != id);
  }
  LORSA_CHECK(prompt.edited_T.any().item<bool>(), ConfigError,
              "`prompt`: expected a text with tokens, found '{}'", text);
  return prompt;
}

RandomControl draw_control(const std::vector<int64_t>& ablated, const at::Tensor& rate_H) {
  std::vector<int64_t> candidates;
  for (int64_t head = 0; head < rate_H.numel(); ++head) {
    if (rate_H.data_ptr<double>()[head] > 0.0 &&
        !std::binary_search(ablated.begin(), ablated.end(), head)) {
      candidates.push_back(head);
    }
  }
  LORSA_CHECK(candidates.size() >= ablated.size(), ConfigError,
              "`random_control`: expected at least {} heads that act on the held-out rows beside "
              "the ablated ones, found {}",
              ablated.size(), candidates.size());
  RandomControl control;
  control.num_candidates = static_cast<int64_t>(candidates.size());
  for (uint64_t seed = 0; seed < RandomControl::kNumDraws; ++seed) {
    // The mix is one-to-one: its order is a random one of the candidates.
    const uint64_t stream = stream_seed(seed, "random control");
    std::sort(candidates.begin(), candidates.end(), [&](int64_t a, int64_t b) {
      return mix64(stream + static_cast<uint64_t>(a)) < mix64(stream + static_cast<uint64_t>(b));
    });
    std::vector<int64_t> draw(candidates.begin(),
                              candidates.begin() + static_cast<int64_t>(ablated.size()));
    std::sort(draw.begin(), draw.end());
    control.draws.push_back(std::move(draw));
  }
  return control;
}

/// The edits first, then the control's draws.
RowsEffect in_rows(std::vector<EditEffect> effects) {
  RowsEffect rows;
  rows.edited = effects.front();
  rows.control.assign(effects.begin() + 1, effects.end());
  return rows;
}

template <typename Value>
double mean_of(const std::vector<EditEffect>& effects, const Value& value) {
  double sum = 0.0;
  for (const EditEffect& effect : effects) {
    sum += value(effect);
  }
  return sum / static_cast<double>(effects.size());
}

double over_positive(double value, double divisor) {
  return divisor > 0.0 ? value / divisor : std::numeric_limits<double>::quiet_NaN();
}

std::vector<EditEffect> measure_prompt_text(const InterventionPlan& plan,
                                            const EditedLayer& layer,
                                            const std::vector<HeadEdits>& sets) {
  EditMeter meter(layer, sets);
  for (const InterventionPlan::Prompt& prompt : plan.prompts) {
    if (StopSignal::requested()) {
      throw Interrupted("stopped among the prompts; nothing was written");
    }
    const at::Tensor edited_BT = prompt.edited_T.unsqueeze(0);
    meter.add({prompt.tokens_T.unsqueeze(0), edited_BT, edited_BT});
  }
  return meter.report();
}

PromptReport measure(const InterventionPlan& plan,
                     const InterventionPlan::Prompt& prompt,
                     const EditedLayer& layer,
                     const lm::Tokenizer& tokenizer) {
  PromptReport report;
  report.prompt = prompt.text;
  report.num_tokens = prompt.tokens_T.numel();
  report.effect =
      measure_prompt(layer, plan.edits, prompt.tokens_T, prompt.edited_T, plan.prompt_tokens);
  const PromptEffect& effect = report.effect;
  for (const auto* list : {&effect.before, &effect.after, &effect.changed}) {
    for (const TokenShift& shift : *list) {
      report.token_text.emplace(shift.token, tokenizer.token_text(shift.token));
    }
  }
  return report;
}

}  // namespace

double RowsEffect::control_rise() const {
  return mean_of(control, [](const EditEffect& effect) { return effect.rise(); });
}

double RowsEffect::control_kl() const {
  return mean_of(control, [](const EditEffect& effect) { return effect.kl; });
}

double RowsEffect::rise_ratio() const {
  return over_positive(edited.rise(), control_rise());
}

double RowsEffect::kl_ratio() const {
  return over_positive(edited.kl, control_kl());
}

void describe(config::Fields& f, InterventionOptions& o) {
  f.text("ablate_heads", o.ablate_heads,
         "What the language model loses without these heads (3,17,40-60, a family such as "
         "induction, or @FILE), on held-out rows and on repeated random tokens.");
  f.text_list("steer", o.steer, "HEAD=VALUE: the same with a head's activation set to a value.");
  f.boolean("random_control", o.random_control,
            "Compare the ablated heads with five draws of as many other acting ones.");
  f.text_list("prompt", o.prompts, "Loss on this text and next tokens, before and after.");
  f.path("prompts", o.prompts_file,
         "A text file with one prompt a line; blanks at the end of a line are left out.");
  f.count("prompt_tokens", o.prompt_tokens, "Tokens listed of a prompt.").at_least(1);
}

std::optional<InterventionPlan> plan_interventions(const study::Study& study,
                                                   const InterventionOptions& o) {
  const bool prompts = !o.prompts.empty() || !o.prompts_file.empty();
  LORSA_CHECK(o.any_edits() || (!prompts && !o.random_control), ConfigError, "{} `ablate_heads`{}",
              prompts ? "`prompt` and `prompts` need" : "`random_control` needs",
              prompts ? " or `steer`" : "");
  LORSA_CHECK(!o.any_edits() || study.has_model(), ConfigError,
              "`ablate_heads` and `steer` need `model`: their effect is the language model's");
  LORSA_CHECK(!o.any_edits() || study.members().size() == 1, ConfigError,
              "`ablate_heads`, `steer`: expected one CHECKPOINT, found {}", study.members().size());
  LORSA_CHECK(!o.random_control || o.steer.empty(), ConfigError,
              "`random_control` compares ablated heads with others: leave out `steer`");
  if (!o.any_edits()) {
    return std::nullopt;
  }
  const int64_t num_heads = study.members().front().dictionary.shape().num_ov_heads;
  const data::Manifest& manifest = study.cache().manifest();
  const lm::Tokenizer& tokenizer = study.tokenizer();
  InterventionPlan plan;
  if (!o.ablate_heads.empty()) {
    plan.ablated = parse_heads(o.ablate_heads, num_heads, o.named_heads);
  }
  for (const std::string& text : o.steer) {
    plan.steered.push_back(parse_steer(text, num_heads));
  }
  plan.edits = join_edits(plan.ablated, plan.steered);
  // A copy twice and BOS are to fit into the contexts that the Lorsa has seen.
  plan.repeat.period = std::min(plan.repeat.period, (manifest.context_length - 1) / 2);
  plan.repeat.bos = manifest.prepend_bos;
  for (const std::string& text : all_prompts(o.prompts, o.prompts_file)) {
    plan.prompts.push_back(tokenized(text, tokenizer, manifest));
  }
  const auto brought = std::count_if(plan.prompts.begin(), plan.prompts.end(),
                                     [](const auto& each) { return each.brought_bos; });
  if (brought > 0) {
    log_info(
        "{} of {} prompts bring BOS {} themselves: left out there, for the cache's rows begin with "
        "one",
        brought, plan.prompts.size(), tokenizer.token_text(*tokenizer.bos_id()));
  }
  plan.prompt_tokens = o.prompt_tokens;
  plan.random_control = o.random_control;
  return plan;
}

InterventionReport intervene(const InterventionPlan& plan,
                             const study::Study& study,
                             const std::vector<int64_t>& rows,
                             const at::Tensor& rate_H,
                             const study::PassOptions& pass) {
  const model::Dictionary dictionary = study.members().front().dictionary.in_unit_form();
  const EditedLayer layer{study.model(), dictionary, study.cache().manifest().site};
  InterventionReport report;
  report.ablated = plan.ablated;
  report.steered = plan.steered;
  report.repeat = plan.repeat;
  std::vector<HeadEdits> sets = {plan.edits};
  if (plan.random_control) {
    report.control = draw_control(plan.ablated, rate_H);
    for (const std::vector<int64_t>& draw : report.control.draws) {
      sets.push_back(join_edits(draw, {}));
    }
  }
  EditMeter heldout(layer, sets);
  study::for_each_batch(study, "intervene", rows, pass, [&](const study::StudyBatch& batch) {
    heldout.add(scored_rows(batch.stored().tokens_BT, batch.stored().scored_BT));
  });
  report.heldout = in_rows(heldout.report());
  report.repeated = in_rows(
      measure_edit_sets(layer, sets, repeated_random_tokens(study.tokenizer(), plan.repeat)));
  for (const InterventionPlan::Prompt& prompt : plan.prompts) {
    report.prompts.push_back(measure(plan, prompt, layer, study.tokenizer()));
  }
  if (!plan.prompts.empty()) {
    report.prompt_text = in_rows(measure_prompt_text(plan, layer, sets));
  }
  return report;
}

}  // namespace lorsa::eval
