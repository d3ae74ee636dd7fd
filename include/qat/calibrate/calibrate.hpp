#pragma once
// Calibration: grids watch the network run in float over some batches, and then quantize. No gradient, no training.

#include <qat/calibrate/network.hpp>
#include <qat/calibrate/similarity.hpp>

namespace qat::calibrate {

/// The quantizers that still have no range: their tensors were never made, or were not finite.
struct Calibration {
    std::size_t batches = 0;
    std::vector<std::string> unseen;  // paths of grids
};

/// Every batch goes through in float while the grids take it in, batch norm by its statistics; between batches the scales
/// that move each step move. Grids whose observer was stopped keep their range. Afterwards all grids quantize, and the
/// network is in the mode it was in. Ranges that are there already count as earlier batches.
inline Calibration calibrate(Network& n, Batches const& batches,
                             std::function<void(std::size_t)> const& done = {}) {
    require_batches(batches, "calibrate");
    torch::NoGradGuard no_grad;
    Calibration result;
    {
        Restore const restore(n.module);
        n.module.eval();
        nn::for_each_grid(n.module, [](nn::Grid& g) { g.train(), g.mode = nn::GridMode::observe; });
        for (auto const& batch : batches) {
            n.forward(batch);
            nn::refresh_scales(n.module);
            if (done)
                done(++result.batches);
            else
                ++result.batches;
        }
    }
    nn::set_mode(n.module, nn::GridMode::quantize);
    for (auto const& item : n.module.named_modules())
        if (auto const* grid = dynamic_cast<nn::Grid const*>(item.value().get()))
            if (grid->unseen()) result.unseen.push_back(item.key());
    return result;
}

/// The results in float, batch by batch.
inline std::vector<std::vector<torch::Tensor>> float_results(Network& n, Batches const& batches) {
    torch::NoGradGuard no_grad;
    Restore const restore(n.module);
    run_in_float(n);
    std::vector<std::vector<torch::Tensor>> results;
    for (auto const& batch : batches) results.push_back(n.forward(batch));
    return results;
}

/// How near the network's results, as it is now, come to those.
inline Similarity compare(Network& n, Batches const& batches,
                          std::vector<std::vector<torch::Tensor>> const& wanted) {
    torch::NoGradGuard no_grad;
    Restore const restore(n.module);
    n.module.eval();
    Similarity all;
    for (std::size_t i = 0; i < batches.size(); ++i) all.add(wanted.at(i), n.forward(batches[i]));
    return all;
}

}  // namespace qat::calibrate
