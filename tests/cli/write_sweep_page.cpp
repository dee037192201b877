// write_sweep_page RESULTS.json PAGE.html: the page of a sweep's results.json.

#include <iostream>

#include "lorsa/experiments/sweep_page.h"
#include "lorsa/io/json.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: write_sweep_page RESULTS.json PAGE.html\n";
    return 2;
  }
  lorsa::experiments::write_sweep_page(lorsa::io::read_json(argv[1]), argv[2]);
}
