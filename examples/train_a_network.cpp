// How do I train with quantization, on a schedule?

#include <qat/qat.hpp>

#include <iostream>

using namespace qat;
using Shift = Quantizer<Int<8>, PerTensorSymmetric, PowerOfTwo<Ceil>>;
using E = Experiment<"trained", ReLU, Weights<Shift::vary<Int<4>, PerChannelSymmetric<0>, MinMax>>,
                     Outputs<Shift>, HeadFloat, QuantizeFrom<after_epochs(1)>, StopObservers<after_epochs(2)>,
                     FreezeBatchNorm<after_epochs(3)>, Epochs<4>>;

struct NetworkImpl : torch::nn::Module {  // which way do the stripes run?
    nn::Conv<E::arithmetic> look{
        register_module("look", nn::Conv<E::arithmetic>({.in = 1, .out = 8, .kernel = 3}))};
    nn::Projection<E::arithmetic> tell{
        register_module("tell", nn::Projection<E::arithmetic>({.in = 8, .out = 1}))};
    torch::Tensor forward(torch::Tensor const& x) { return tell(look(x)).mean({1, 2, 3}); }  // [N]
};
TORCH_MODULE(Network);

int main() {
    torch::manual_seed(0);
    Network network;
    auto const rows = torch::arange(8).remainder(2).view({1, 1, 8, 1}).expand({16, 1, 8, 8});
    auto const answers = torch::cat({torch::ones({16}), torch::zeros({16})});
    torch::optim::SGD optimizer(network->parameters(), torch::optim::SGDOptions(0.3).momentum(0.9));

    constexpr int steps_per_epoch = 25;
    auto const events = plan(E::schedule, steps_per_epoch, E::schedule.epochs);
    nn::set_mode(*network, nn::GridMode::observe);  // until quantization starts
    double first = 0, loss_now = 0;
    for (int step = 0; step < steps_per_epoch * E::schedule.epochs; ++step) {
        for (auto const& event : events) {
            if (event.step != step) continue;
            std::cout << event.what << "\n";
            if (event.action == Action::quantize) nn::set_mode(*network, nn::GridMode::quantize);
            if (event.action == Action::stop_observers) nn::stop_observers(*network);
            if (event.action == Action::freeze_batch_norm) nn::freeze_batch_norm(*network);
        }
        auto const x = torch::cat({rows, rows.transpose(2, 3)}) + 0.3 * torch::randn({32, 1, 8, 8});
        auto const loss = torch::binary_cross_entropy_with_logits(network(x), answers);
        optimizer.zero_grad();
        loss.backward();
        optimizer.step();
        nn::refresh_scales(*network);
        loss_now = loss.item<double>();
        if (step == 0) first = loss_now;
    }
    network->eval();
    auto const weight = *network->look->quantized_weight();
    auto const codes = weight.grid->forward(weight.seen()) / weight.grid->scale.view({-1, 1, 1, 1});
    std::cout << std::boolalpha << "the loss fell to less than a tenth: " << (loss_now < first / 10)
              << "\nweights are integers from -8 to 7: "
              << (torch::equal(codes, codes.round()) && codes.min().item<float>() >= -8 &&
                  codes.max().item<float>() <= 7)
              << "\n";
}
