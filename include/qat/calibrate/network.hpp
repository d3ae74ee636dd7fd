#pragma once
// What post-training tools see of a network: its modules, its graph, and how it is run. They quantize with the same
// policies as training does, and train nothing.

#include <qat/nn/bind.hpp>
#include <qat/nn/producer.hpp>

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace qat::calibrate {

/// Inputs of a network, one tensor each.                                                              [N, C, H, W]
using Batches = std::vector<torch::Tensor>;

/// A bound network. module, and what forward calls, must outlive it. The graph's order is that of the forward.
struct Network {
    torch::nn::Module& module;
    graph::Graph graph;
    std::function<std::vector<torch::Tensor>(torch::Tensor const& batch)> forward;  // the results to compare
};

/// Of a model whose forward takes and gives one tensor.
template <class Model> Network network_of(Model& model, graph::Shape input) {
    return {*model, nn::trace(model, std::move(input)),
            [&model](torch::Tensor const& x) { return std::vector{model(x)}; }};
}

/// A convolution of the graph.
struct Layer {
    int node;
    std::string path;
    nn::Producer* producer;
    nn::QuantizedWeight weight;
};

/// The convolutions in the order in which they run, each once.
inline std::vector<Layer> layers_of(graph::Graph const& g) {
    std::vector<Layer> layers;
    std::set<nn::Producer const*> seen;
    for (std::size_t i = 0; i < g.nodes.size(); ++i) {
        auto const& node = g.nodes[i];
        if (!node.producer || !seen.insert(node.producer).second) continue;
        if (auto weight = node.producer->quantized_weight())
            layers.push_back({static_cast<int>(i), graph::title(node), node.producer, std::move(*weight)});
    }
    return layers;
}

/// At the end of its scope every grid's mode, observer and probe, every tap, and what was in training are again as they
/// were, whatever was thrown meanwhile.
class Restore {
public:
    explicit Restore(torch::nn::Module& module) {
        for (auto const& m : module.modules()) training_.emplace_back(m, m->is_training());
        nn::for_each_grid(module, [this](nn::Grid& g) {
            grids_.push_back({&g, g.mode, g.observing, g.probe});
        });
        nn::for_each_producer(module, [this](nn::Producer& p) { taps_.emplace_back(&p, p.tap); });
    }
    Restore(Restore const&) = delete;
    Restore& operator=(Restore const&) = delete;
    ~Restore() {
        for (auto const& [m, training] : training_) m->train(training);  // parents first
        for (auto const& g : grids_)
            g.grid->mode = g.mode, g.grid->observing = g.observing, g.grid->probe = g.probe;
        for (auto& [producer, tap] : taps_) producer->tap = tap;
    }

private:
    struct GridState {
        nn::Grid* grid;
        nn::GridMode mode;
        bool observing;
        std::function<void(torch::Tensor const&, torch::Tensor const&)> probe;
    };
    std::vector<std::pair<std::shared_ptr<torch::nn::Module>, bool>> training_;
    std::vector<GridState> grids_;
    std::vector<std::pair<nn::Producer*, decltype(nn::Producer::tap)>> taps_;
};

/// Evaluation in float: all grids are bypassed. For the rest of a Restore's scope.
inline void run_in_float(Network& n) { n.module.eval(), nn::set_mode(n.module, nn::GridMode::bypass); }
/// Evaluation as deployed.
inline void run_quantized(Network& n) { n.module.eval(), nn::set_mode(n.module, nn::GridMode::quantize); }

inline void require_batches(Batches const& batches, char const* who) {
    TORCH_CHECK(!batches.empty(), who, ": there are no batches; give at least one");
}

}  // namespace qat::calibrate
