// yolo-detect with the experiments of the reference study.

#include "commands.hpp"

int main(int argc, char** argv) { return commands::detect(commands::reference(), argc, argv); }
