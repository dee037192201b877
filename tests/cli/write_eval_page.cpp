// write_eval_page REPORT.json PAGE.html: the page of what lorsa-eval --out wrote.

#include <iostream>

#include "lorsa/eval/eval_page.h"
#include "lorsa/io/json.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: write_eval_page REPORT.json PAGE.html\n";
    return 2;
  }
  lorsa::eval::write_eval_page(lorsa::io::read_json(argv[1]), argv[2]);
}
