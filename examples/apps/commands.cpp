#include "commands.hpp"
#include "networks/experiments.hpp"

#include <yolo/apps/calibrate.hpp>
#include <yolo/apps/describe.hpp>
#include <yolo/apps/detect.hpp>
#include <yolo/apps/shapes.hpp>
#include <yolo/apps/train.hpp>
#include <yolo/apps/val.hpp>

namespace commands {

yolo::Catalogue const& reference() {
    static yolo::Catalogue const catalogue(yolo::experiments::all);
    return catalogue;
}

int train(yolo::Catalogue const& experiments, int argc, char const* const* argv) {
    return yolo::apps::train(experiments, argc, argv);
}
int val(yolo::Catalogue const& experiments, int argc, char const* const* argv) {
    return yolo::apps::val(experiments, argc, argv);
}
int detect(yolo::Catalogue const& experiments, int argc, char const* const* argv) {
    return yolo::apps::detect(experiments, argc, argv);
}
int describe(yolo::Catalogue const& experiments, int argc, char const* const* argv) {
    return yolo::apps::describe(experiments, argc, argv);
}
int calibrate(yolo::Catalogue const& experiments, int argc, char const* const* argv) {
    return yolo::apps::calibrate(experiments, argc, argv);
}
int shapes(int argc, char const* const* argv) { return yolo::apps::shapes(argc, argv); }

}  // namespace commands
