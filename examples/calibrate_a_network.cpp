// How do I quantize a network that is trained already, and which layer suffers most?

#include <qat/calibrate/sensitivity.hpp>
#include <qat/qat.hpp>

#include <iostream>

template <class A> struct SmallImpl : torch::nn::Module {
    struct Options {};
    using arithmetic = A;
    Options options;
    qat::nn::Conv<A> edges, shapes;
    qat::nn::Projection<A> scores;

    explicit SmallImpl(Options o = {})
        : options(o),
          edges(register_module("edges", qat::nn::Conv<A>({.in = 3, .out = 8, .kernel = 3, .stride = 2}))),
          shapes(register_module("shapes", qat::nn::Conv<A>({.in = 8, .out = 8, .kernel = 3}))),
          scores(register_module("scores", qat::nn::Projection<A>({.in = 8, .out = 4}))) {}

    template <qat::Signal V> V forward(V image) { return scores(shapes(edges(image))); }  // [N, 4, H/2, W/2]
};
template <class A> using Small = qat::nn::Handle<SmallImpl<A>>;

using Outputs = qat::Quantizer<qat::UInt<8>, qat::PerTensorAffine, qat::Percentile<std::ratio<9999, 10000>>>;
using E = qat::Experiment<"calibrated", qat::ReLU, qat::FoldBatchNorm, qat::Outputs<Outputs>>;

int main() {
    namespace calibrate = qat::calibrate;
    torch::manual_seed(0);
    Small<E::arithmetic> model;  // a checkpoint would be loaded here
    auto network = calibrate::network_of(model, {1, 3, 32, 32});
    calibrate::Batches const batches{torch::rand({4, 3, 32, 32}), torch::rand({4, 3, 32, 32})};

    auto const in_float = calibrate::float_results(network, batches);
    auto const seen = calibrate::calibrate(network, batches);
    auto const similarity = calibrate::compare(network, batches, in_float);
    std::cout << std::boolalpha << seen.batches
              << " batches; quantizers without a range: " << seen.unseen.size()
              << "\nmore than 25 decibel of signal to noise: " << (similarity.signal_to_noise() > 25)
              << ", cosine above 0.998: " << (similarity.cosine() > 0.998) << "\n";

    auto const worst_first = calibrate::sensitivity(network, network, batches, {.by_layer = true});
    std::cout << worst_first.size() << " layers, each quantized alone is nearer to float than all together:";
    for (auto const& layer : worst_first)
        std::cout << " " << (layer.signal_to_noise > similarity.signal_to_noise());
    std::cout << "\n";
}
