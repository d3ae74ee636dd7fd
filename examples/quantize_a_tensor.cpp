// How do I put one tensor on a grid?

#include <qat/nn/fake_quantize.hpp>

#include <iostream>

using Shift = qat::Quantizer<qat::Int<4>, qat::PerTensorSymmetric, qat::MinMax, qat::PowerOfTwo<qat::Ceil>>;

int main() {
    qat::nn::FakeQuantize<Shift> grid;  // observer, scale and quantization in one module
    auto const x = torch::tensor({-1.0f, -0.3f, 0.06f, 0.07f, 0.9f});
    auto const y = grid(x);  // in training mode: the range takes in x first
    std::cout << qat::describe<Shift>() << "\nscale " << grid->scale.item<float>() << "\n";
    for (int i = 0; i < 5; ++i) std::cout << x[i].item<float>() << " -> " << y[i].item<float>() << "\n";

    grid->eval();  // the grid stays; what is outside is clipped
    std::cout << "7 -> " << grid(torch::tensor(7.0f)).item<float>() << "\n";
}
