// yolo-train with the experiments of the reference study.

#include "commands.hpp"

int main(int argc, char** argv) { return commands::train(commands::reference(), argc, argv); }
