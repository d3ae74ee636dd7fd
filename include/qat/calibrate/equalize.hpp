#pragma once
// Cross-layer equalization: a channel between two convolutions may be made smaller by the first and larger by the second
// without changing what the network computes; scales are chosen so that both weights use their grids alike.
// Nagel, van Baalen, Blankevoort, Welling: Data-free quantization through weight equalization and bias correction, 2019,
// arXiv:1906.04721, section 4.1.

#include <qat/calibrate/network.hpp>

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace qat::calibrate {

struct EqualizeOptions {
    int passes = 100;         // at most
    double tolerance = 1e-4;  // until no channel is scaled by more than this, relative
};

/// A convolution and those that read it, and nothing else does.
struct EqualizedPair {
    std::string from;
    std::vector<std::string> to;
    double before, after;  // of the channel where they differ most: larger / smaller of the two weight ranges
};
struct NotEqualized {
    std::string path, why;
};
struct Equalization {
    std::vector<EqualizedPair> pairs;
    std::vector<NotEqualized> skipped;  // every other convolution
    int passes = 0;
    bool converged = true;
};

namespace detail {

// What is fused behind the convolution: the last word of "3x3/2 relu"; empty if nothing is.
inline std::string activation_of(graph::Node const& n) {
    auto const space = n.computes.rfind(' ');
    return space == n.computes.npos ? "" : n.computes.substr(space + 1);
}

// f(a x) = a f(x) for all a > 0
inline bool scale_equivariant(std::string const& activation) {
    return activation.empty() || activation == "identity" || activation == "relu";
}

struct Link {
    Layer const* from;
    std::vector<Layer const*> to;

    // Largest weights of every channel between: of what writes it, and of all that read it.                        [C]
    std::pair<torch::Tensor, torch::Tensor> ranges() const {
        torch::Tensor read;
        for (auto const* layer : to) {
            auto const r = layer->weight.weight.detach().abs().transpose(0, 1).flatten(1).amax(1);
            read = read.defined() ? torch::maximum(read, r) : r;
        }
        return {from->weight.weight.detach().abs().flatten(1).amax(1), read};
    }
    double imbalance() const {
        auto const [write, read] = ranges();
        auto const both = (write > 0) & (read > 0);
        auto const ratio = torch::where(both, (write / read).log().abs(), torch::zeros_like(write));
        return std::exp(ratio.max().item<double>());
    }
    // W1 / s, b1 / s, W2 * s with s = sqrt(r1 / r2); the largest |log s|. Dead channels stay.
    double equalize() const {
        auto const [write, read] = ranges();
        auto const both = (write > 0) & (read > 0);
        auto const s = torch::where(both, (write / read).sqrt(), torch::ones_like(write));
        torch::Tensor first = from->weight.weight, bias = from->weight.bias;
        first.div_(s.view({-1, 1, 1, 1})), bias.div_(s);
        for (auto const* layer : to) {
            torch::Tensor second = layer->weight.weight;
            second.mul_(s.view({1, -1, 1, 1}));
        }
        return s.log().abs().max().item<double>();
    }
};

// Why this convolution's channels cannot be scaled; empty if they can, and then `to` are the nodes that read it.
inline std::string obstacle(graph::Graph const& g, Layer const& layer, std::vector<int>& to) {
    auto const activation = activation_of(g[layer.node]);
    if (!scale_equivariant(activation))
        return activation + " of a scaled number is not the scaled " + activation +
               "; equalization needs ReLU or no activation";
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
        auto const& inputs = g.nodes[i].inputs;
        if (std::find(inputs.begin(), inputs.end(), layer.node) == inputs.end()) continue;
        if (g.nodes[i].op != graph::Op::conv)
            return "it is read by " + graph::title(g.nodes[i]) + ", which is no convolution";
        to.push_back(static_cast<int>(i));
    }
    return to.empty() ? "no convolution reads it" : "";
}
}  // namespace detail

/// Scales weights and biases; in float the network computes what it did. Before calibration: ranges that were seen no
/// longer hold. requires: what leaves the network passes something that is no convolution, or is read by nothing.
/// throws std::runtime_error where batch norm is live.
inline Equalization equalize(Network& n, EqualizeOptions const& o = {}) {
    torch::NoGradGuard no_grad;
    auto const layers = layers_of(n.graph);
    for (auto const& layer : layers)
        if (layer.weight.factor.defined())
            throw std::runtime_error("equalize: " + layer.path +
                                     " has batch norm behind it, and what would be equalized "
                                     "is its folded weight; use an experiment with FoldBatchNorm");
    std::map<int, Layer const*> by_node;
    for (auto const& layer : layers) by_node[layer.node] = &layer;

    Equalization result;
    std::vector<detail::Link> links;
    for (auto const& layer : layers) {
        std::vector<int> readers;
        if (auto why = detail::obstacle(n.graph, layer, readers); !why.empty()) {
            result.skipped.push_back({layer.path, std::move(why)});
            continue;
        }
        auto& link = links.emplace_back(detail::Link{&layer, {}});
        auto& pair = result.pairs.emplace_back();
        for (int reader : readers) {
            link.to.push_back(by_node.at(reader));
            pair.to.push_back(link.to.back()->path);
        }
        pair.from = layer.path, pair.before = link.imbalance();
    }
    double most = links.empty() ? 0 : 1;
    while (most > o.tolerance && result.passes < o.passes) {
        most = 0;
        for (auto const& link : links) most = std::max(most, link.equalize());
        ++result.passes;
    }
    result.converged = most <= o.tolerance;
    for (std::size_t i = 0; i < links.size(); ++i) result.pairs[i].after = links[i].imbalance();
    return result;
}

}  // namespace qat::calibrate
