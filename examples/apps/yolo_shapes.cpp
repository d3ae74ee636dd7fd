// yolo-shapes: a generated data set.

#include <yolo/apps/shapes.hpp>

int main(int argc, char** argv) { return yolo::apps::shapes(argc, argv); }
