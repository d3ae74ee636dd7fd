// yolo-val with the experiments of the reference study.

#include "commands.hpp"

int main(int argc, char** argv) { return commands::val(commands::reference(), argc, argv); }
