#pragma once
// Which quantizers cost most: each is switched on alone, or off alone, and the network's results are compared with float.

#include <qat/calibrate/calibrate.hpp>

#include <algorithm>

namespace qat::calibrate {

/// alone: everything else runs in float. left_out: everything else is quantized.
enum class Measured { alone, left_out };

struct SensitivityOptions {
    Measured measured = Measured::alone;
    bool weights = true, outputs = true;  // which quantizers
    bool by_layer = false;                // a layer's weights and output together
    std::function<double()> metric = {};  // of the network as it is switched; higher is better, as mAP. Slow.
    std::function<void(std::size_t done, std::size_t total)> done = {};
};

struct Sensitivity {
    std::string path;            // of the grid, or of the layer
    double signal_to_noise = 0;  // of the network's results against float, decibel
    std::optional<double> metric;
};

/// The worst first: alone, the lowest signal-to-noise ratio; left out, the highest. A shared grid is one entry: the name is
/// its owner's. After calibration, and before biases are corrected or weights rounded: else what remains with all quantizers
/// off hides the small ones. reference: as for correct_bias. With a metric that one ranks; a tie keeps the order of the
/// forward.
inline std::vector<Sensitivity> sensitivity(Network& n, Network& reference, Batches const& batches,
                                            SensitivityOptions const& o = {}) {
    require_batches(batches, "sensitivity");
    torch::NoGradGuard no_grad;
    std::vector<std::pair<std::string, std::vector<nn::Grid*>>> groups;
    std::set<nn::Grid const*> seen;
    for (auto const& node : n.graph.nodes) {
        if (!node.producer) continue;
        auto const title = graph::title(node);
        std::vector<nn::Grid*> together;
        auto const take = [&](nn::Grid& grid, bool wanted, char const* name) {
            if (!wanted || !grid.quantized() || !seen.insert(&grid).second) return;
            if (o.by_layer)
                together.push_back(&grid);
            else
                groups.push_back({title + name, {&grid}});
        };
        if (auto const weight = node.producer->quantized_weight())
            take(*weight->grid, o.weights, ".weight_grid");
        take(*node.producer->grid(), o.outputs, ".output");
        if (!together.empty()) groups.emplace_back(title, std::move(together));
    }
    auto const wanted = float_results(reference, batches);
    bool const alone = o.measured == Measured::alone;
    Restore const restore(n.module);
    n.module.eval();
    nn::set_mode(n.module, alone ? nn::GridMode::bypass : nn::GridMode::quantize);
    std::vector<Sensitivity> result;
    for (auto const& [path, grids] : groups) {
        for (auto* g : grids) g->mode = alone ? nn::GridMode::quantize : nn::GridMode::bypass;
        auto& entry = result.emplace_back();
        entry.path = path, entry.signal_to_noise = compare(n, batches, wanted).signal_to_noise();
        if (o.metric) entry.metric = o.metric();
        for (auto* g : grids) g->mode = alone ? nn::GridMode::bypass : nn::GridMode::quantize;
        if (o.done) o.done(result.size(), groups.size());
    }
    auto const figure = [&](Sensitivity const& s) { return s.metric ? *s.metric : s.signal_to_noise; };
    std::stable_sort(result.begin(), result.end(), [&](auto const& a, auto const& b) {
        return alone ? figure(a) < figure(b) : figure(a) > figure(b);
    });
    return result;
}

}  // namespace qat::calibrate
