// yolo-calibrate with the experiments of the reference study. For your own, list them in a catalogue of yours.

#include "networks/experiments.hpp"

#include <yolo/apps/calibrate.hpp>

int main(int argc, char** argv) {
    return yolo::apps::calibrate(yolo::Catalogue(yolo::experiments::all), argc, argv);
}
