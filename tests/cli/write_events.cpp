// Writes an event file as a training run would: for event_file_test.sh.
//
//   write_events FOLDER RESUMED_STEP < metrics.jsonl

#include <iostream>
#include <string>

#include "lorsa/metrics/event_file.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    return 2;
  }
  lorsa::metrics::EventFile events(argv[1], std::stoll(argv[2]));
  for (std::string line; std::getline(std::cin, line);) {
    events.append_line(line);
  }
  events.finish();
}
