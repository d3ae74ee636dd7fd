// How do I add an activation of my own, and train with it?

#include <qat/nn/conv.hpp>

#include <iostream>

namespace mine {

struct HardTanh {  // y = min(max(x, -1), 1)
    using slot = qat::slot::activation;
    static constexpr std::string_view name = "hard tanh";
    static constexpr bool nonnegative = false;  // so unsigned outputs are refused at compile time
};
torch::Tensor activate(HardTanh, torch::Tensor const& x) { return x.clamp(-1, 1); }  // found by its argument

}  // namespace mine

using E = qat::Experiment<"hard tanh", mine::HardTanh>;

int main() {
    torch::manual_seed(0);
    qat::nn::Conv<E::arithmetic> conv({.in = 3, .out = 8, .kernel = 3});
    auto const y = conv(torch::randn({1, 3, 8, 8}) * 100);
    y.sum().backward();
    std::cout << qat::describe<E>()[1].second << ": " << y.sizes()
              << ", |y| <= 1 and a grid step: " << std::boolalpha
              << (y.abs().max().item<float>() <= 1 + conv->grid()->scale.item<float>())
              << ", weights have a gradient: " << conv->conv->weight.grad().defined() << "\n";
}
