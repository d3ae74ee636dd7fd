// How do I quantize a layer, and what do fewer bits cost?

#include <qat/qat.hpp>

#include <iomanip>
#include <iostream>

template <class Format>
using Layer = qat::Experiment<"layer", qat::ReLU, qat::FoldBatchNorm,
                              qat::Weights<qat::Quantizer<Format, qat::PerChannelSymmetric<0>, qat::MinMax>>,
                              qat::Outputs<qat::Quantizer<qat::UInt<8>, qat::PerTensorAffine>>>;

// Numbers between -1 and 1, the same everywhere.
torch::Tensor numbers(std::vector<std::int64_t> const& shape, double step) {
    return torch::sin(torch::arange(torch::empty(shape).numel()) * step).view(shape);
}

template <class Format> void show() {
    using E = Layer<Format>;
    qat::nn::Conv<typename E::arithmetic> conv({.in = 3, .out = 8, .kernel = 3});
    torch::NoGradGuard no_grad;
    conv->conv->weight.copy_(numbers({8, 3, 3, 3}, 0.7));
    conv->conv->bias.zero_();
    auto const x = numbers({2, 3, 16, 16}, 0.3);

    conv(x);  // in training mode the ranges of weights and outputs take these in
    conv->eval();
    auto const y = conv(x);
    auto const in_float = torch::relu(torch::conv2d(x, conv->conv->weight, conv->conv->bias, 1, 1));
    auto const error = (y - in_float).norm() / in_float.norm();
    auto const codes = y / conv->grid()->scale;
    std::cout << qat::describe<typename E::arithmetic::weights>() << ": " << conv->weight_grid->scale.numel()
              << " scales, outputs are integers times one: " << torch::allclose(codes, codes.round(), 0, 1e-3)
              << ", error " << 100 * error.template item<double>() << " %\n";
}

int main() {
    std::cout << std::fixed << std::setprecision(0) << std::boolalpha;
    show<qat::Int<8>>();
    show<qat::Int<4>>();
    show<qat::Int<2>>();
}
