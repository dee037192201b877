#include "lorsa/experiments/sweep_config.h"

namespace lorsa::experiments {

void describe(config::Fields& f, SweepConfig& c) {
  f.section("sweep", "Trainings over a grid of settings. Paths are those of the working folder.");
  f.text("out", c.sweep.out, "Sweep folder; an unfinished sweep there is continued.").required();
  f.text("title", c.sweep.title, "Title of the page; empty takes the folder's name.");
  f.text("question", c.sweep.question, "What the sweep is to answer, shown below the title.");
  f.text("toy", c.sweep.toy,
         "Configuration of lorsa-toy: the target model is trained first; empty: none is.");
  f.text(
      "cache", c.sweep.cache,
      "Configuration of lorsa-cache extract with one layer: the cache is made first; empty takes "
      "the training's own data.cache.");
  f.text("train", c.sweep.train, "Configuration of lorsa-train that all runs begin from.")
      .required();
  f.text_list("set", c.sweep.set,
              "Settings of all runs, \"key=value\"; \"cache:key=value\" and \"toy:key=value\" for "
              "the stages before.");
  f.text_list("axes", c.sweep.axes,
              "What varies, \"key=[v, ...]\" with prefixes as in set; keys joined by ; take their "
              "values together, axes multiply.");
  f.count("together", c.sweep.together, "Runs trained on one stream of batches at most.")
      .between(1, 1024);
  f.boolean("keep_checkpoints", c.sweep.keep_checkpoints,
            "Keep checkpoints/ of finished runs beside final/.");

  f.section("measure", "What is measured of every run, on held-out rows.");
  f.boolean("eval", c.measure.eval, "The metrics of lorsa-eval.");
  f.text(
      "model", c.measure.model,
      "Hugging Face folder of the language model for ce_* and kl; empty: none, but a toy's own.");
  f.count("max_rows", c.measure.max_rows, "Held-out rows to use; 0 takes all.").at_least(0);
  f.count("pattern_rows", c.measure.pattern_rows,
          "Held-out rows on which attention patterns are compared with the layer's; 0: none.")
      .at_least(0);
  f.count("batch_sequences", c.measure.batch_sequences, "Rows of one batch.").at_least(1);
  f.boolean("rules", c.measure.rules, "How well single heads stand for the rules of a toy.");
  f.boolean("stability", c.measure.stability,
            "Heads found again between runs that differ in run.seed alone, pair by pair.");
  f.boolean(
      "errors", c.measure.errors,
      "What every Lorsa's errors are made of, beside those of the SAEs on its cache that have "
      "its run.seed.");

  f.section("page",
            "What the page and the table show. Names with a dot are settings, others metrics.");
  f.text_list("columns", c.page.columns,
              "Metrics of the tables; empty: fvu, l0, dead_fraction, parameters and those of what "
              "was measured.");
  f.text_list("curves", c.page.curves,
              "Plots, \"fvu against model.d_qk by model.kind\"; several keys behind by: \"by "
              "model.kind, init.qk\".");
  f.text_list("heat_maps", c.page.heat_maps,
              "Maps, \"fvu against model.d_qk and model.top_k by model.kind\".");
  f.text_list(
      "fits", c.page.fits,
      "Log-log plots with a power law per series, \"fvu against parameters by model.kind\".");
}

}  // namespace lorsa::experiments
