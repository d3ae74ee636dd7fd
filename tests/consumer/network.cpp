// An experiment of one's own, made out of another by `vary`, and the network that it means.
#include <qat/qat.hpp>
#include <yolo/model/yolov5.hpp>

#include <iostream>

namespace mine {
using Plain = qat::Experiment<"plain", qat::ReLU, qat::FoldBatchNorm>;
using Shifts = qat::Quantizer<qat::Int<8>, qat::PerTensorSymmetric, qat::PowerOfTwo<qat::Ceil>>;
using Tiny = Plain::vary<"tiny", qat::Weights<Shifts>, qat::Outputs<Shifts>, qat::AlignInputs>;
}  // namespace mine

int main() {
    yolo::YoloV5<mine::Tiny::arithmetic> model(yolo::YoloV5Options{.classes = 3});
    qat::nn::bind(model);
    std::int64_t parameters = 0;
    for (auto const& p : model->parameters()) parameters += p.numel();
    std::cout << mine::Tiny::name << ": " << parameters << " parameters\n";
}
