// yolo-calibrate with the experiments of the reference study.

#include "commands.hpp"

int main(int argc, char** argv) { return commands::calibrate(commands::reference(), argc, argv); }
