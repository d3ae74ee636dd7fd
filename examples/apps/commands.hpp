#pragma once
// The command lines of yolo/apps, compiled once for all programs here and their tests. A program of your own has no need of
// this: it includes <yolo/apps/train.hpp> and calls yolo::apps::train with a catalogue of its experiments.

namespace yolo {
class Catalogue;
}

namespace commands {

yolo::Catalogue const& reference();  // the experiments of the reference study

// What they return is the program's exit status.
int train(yolo::Catalogue const& experiments, int argc, char const* const* argv);
int val(yolo::Catalogue const& experiments, int argc, char const* const* argv);
int detect(yolo::Catalogue const& experiments, int argc, char const* const* argv);
int describe(yolo::Catalogue const& experiments, int argc, char const* const* argv);
int calibrate(yolo::Catalogue const& experiments, int argc, char const* const* argv);
int shapes(int argc, char const* const* argv);

}  // namespace commands
