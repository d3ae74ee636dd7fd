#pragma once
// Bias correction: quantization errors do not average out; what they add to a channel on average is taken from its bias.
//     b -= E[y_quantized] - E[y_float], y before the activation
// Nagel et al. 2019, arXiv:1906.04721, section 4.2 (with data: their appendix on empirical bias correction).

#include <qat/calibrate/network.hpp>

namespace qat::calibrate {

struct CorrectedBias {
    std::string path;
    double largest;   // |shift| over the channels, real units
    double relative;  // root mean square of the shifts over that of the channels' means in float
};

/// Layer by layer in the order of the forward: what a layer reads comes from corrected layers, because each batch is
/// corrected, while it passes, by what was found so far. So one float and one quantized forward for each batch is enough.
/// reference: a network with the same layers whose weights are still the float ones; it may be n itself. Both are left in
/// the mode they were in. After calibration. Works with folded and with live batch norm (whose beta takes the shift).
inline std::vector<CorrectedBias> correct_bias(Network& n, Network& reference, Batches const& batches) {
    require_batches(batches, "correct_bias");
    torch::NoGradGuard no_grad;
    auto const layers = layers_of(n.graph);
    auto const references = layers_of(reference.graph);
    TORCH_CHECK(layers.size() == references.size(), "correct_bias: the reference has ", references.size(),
                " convolutions, want ", layers.size());
    struct Sums {
        torch::Tensor wanted, shift;  // [C], float64, over all values so far
        double count = 0;
    };
    std::vector<Sums> sums(layers.size());
    auto const sum = [](torch::Tensor const& y) { return y.sum({0, 2, 3}, false, torch::kDouble); };
    for (auto const& batch : batches) {
        {
            Restore const restore(reference.module);
            run_in_float(reference);
            for (std::size_t i = 0; i < layers.size(); ++i)
                references[i].producer->tap =
                    [&, i](torch::Tensor const&, torch::Tensor const& y) {  // [N, C, H, W]
                    auto const wanted = sum(y);
                    auto& s = sums[i];
                    if (!s.wanted.defined())
                        s.wanted = torch::zeros_like(wanted), s.shift = torch::zeros_like(wanted);
                    s.wanted += wanted, s.shift -= wanted;
                    s.count += static_cast<double>(y.numel() / y.size(1));
                };
            reference.forward(batch);
        }
        Restore const restore(n.module);
        run_quantized(n);
        for (std::size_t i = 0; i < layers.size(); ++i)
            layers[i].producer->tap = [&, i](torch::Tensor const&, torch::Tensor const& y) {
                auto& s = sums[i];
                s.shift += sum(y);
                torch::Tensor corrected = y;
                corrected.sub_((s.shift / s.count).to(y.scalar_type()).view({1, -1, 1, 1}));
            };
        n.forward(batch);
    }
    std::vector<CorrectedBias> result;
    for (std::size_t i = 0; i < layers.size(); ++i) {
        auto const& s = sums[i];
        if (!s.wanted.defined()) continue;  // its forward did not run
        auto const shift = s.shift / s.count;
        torch::Tensor bias = layers[i].weight.bias;
        bias.sub_(shift.to(bias.scalar_type()));
        auto const level = (s.wanted / s.count).square().mean().sqrt().item<double>();
        result.push_back({layers[i].path, shift.abs().max().item<double>(),
                          shift.square().mean().sqrt().item<double>() / std::max(level, 1e-12)});
    }
    return result;
}

}  // namespace qat::calibrate
