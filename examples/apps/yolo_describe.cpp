// yolo-describe with the experiments of the reference study.

#include "commands.hpp"

int main(int argc, char** argv) { return commands::describe(commands::reference(), argc, argv); }
