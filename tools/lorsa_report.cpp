// lorsa-report: the curves of runs as one page.

#include <iostream>

#include "lorsa/io/files.h"
#include "lorsa/metrics/run_report.h"
#include "main.h"
#include "options.h"

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> runs;
  std::filesystem::path out;
  return lorsa::tools::run_command(
      argc, argv, "lorsa-report",
      "Shows runs of lorsa-train side by side: one HTML page with their curves, last numbers and "
      "the settings in which they differ.",
      [&](CLI::App& app) {
        app.add_option("RUN", runs, "Run folders (metrics.jsonl, config.yaml)")
            ->type_name("DIR")
            ->required()
            ->check(lorsa::tools::filled("a folder"));
        app.add_option("--out", out, "The page; an older one there is replaced")
            ->type_name("FILE.html")
            ->required()
            ->check(lorsa::tools::filled("a file"));
        app.footer(
            "Example:\n"
            "  lorsa-report runs/a runs/b --out report.html\n"
            "Then open report.html in a browser. It needs no other file and no network.\n");
        app.callback([&] {
          lorsa::io::check_can_write(out);
          lorsa::metrics::write_run_report(runs, out);
          std::cout << out.string() << ": " << runs.size() << (runs.size() == 1 ? " run" : " runs")
                    << "\n";
        });
      });
}
