// yolo-shapes: a generated data set.

#include "commands.hpp"

int main(int argc, char** argv) { return commands::shapes(argc, argv); }
