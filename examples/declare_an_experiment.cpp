// How do I declare an experiment of my own, and what does it mean?

#include <qat/qat.hpp>
#include <yolo/experiments.hpp>
#include <yolo/model/yolov5.hpp>

#include <iostream>

// The study's second experiment, but outputs spend no bit on a sign, and the logits keep their precision.
using Unsigned = qat::Quantizer<qat::UInt<8>, qat::PerTensorSymmetric, qat::PowerOfTwo<qat::Ceil>>;
using Mine = yolo::experiments::exp2::vary<"mine", qat::Outputs<Unsigned>, qat::HeadFloat>;

int main() {
    for (auto const& [about, choice] : qat::describe<Mine>()) std::cout << about << ": " << choice << "\n";
    for (auto const& event : qat::plan(Mine::schedule, 3697, 20)) std::cout << event.what << "\n";

    yolo::YoloV5<Mine::arithmetic> model({.size = yolo::nano, .classes = 80});
    auto const groups = qat::nn::bind(model);
    std::cout << groups.size() << " groups of results share a scale\n";
    std::cout << "logits at stride 8: " << model(torch::rand({1, 3, 64, 64})).p3.sizes() << "\n";
}
