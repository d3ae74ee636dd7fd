#pragma once
// A module whose result lies on a grid. Not a template: the graph and bind() see every such module through this class.

#include <qat/graph/graph.hpp>
#include <qat/nn/grid.hpp>

#include <typeinfo>

namespace qat::nn {

class Producer : public torch::nn::Module {
public:
    explicit Producer(std::shared_ptr<Grid> grid) : grid_(register_module("output", std::move(grid))) {}

    std::shared_ptr<Grid> const& grid() const { return grid_; }

    /// The running statistics no longer move, and are used in training too. Nothing to do without batch norm.
    virtual void freeze_statistics() {}

    /// From now on both results lie on the owner's grid. The owner keeps it registered, this module only refers to it,
    /// so that it appears once among parameters and buffers.
    void share_grid_of(Producer const& owner) {
        if (grid_ == owner.grid_) return;
        Grid const &mine = *grid_, &theirs = *owner.grid_;
        TORCH_CHECK(typeid(mine) == typeid(theirs),
                    "bind: two results that meet at a join have different quantizers (", mine.describe(),
                    " and ", theirs.describe(), "); give both the same, or use Unaligned");
        unregister_module("output");
        grid_ = owner.grid_;
        grid_->share();
    }

protected:
    /// Writes this module down as a node.
    graph::Value record(graph::Node node, std::vector<graph::Value> const& inputs) {
        node.producer = this;
        node.requantizes = grid_->quantized();
        if (node.requantizes) node.output = grid_->describe();
        return inputs.front().graph->record(std::move(node), this, inputs);
    }

private:
    std::shared_ptr<Grid> grid_;
};

/// Batch norm uses its running statistics from now on, and they no longer move. torch.ao: freeze_bn_stats.
inline void freeze_batch_norm(torch::nn::Module& model) {
    for (auto const& m : model.modules())
        if (auto* producer = dynamic_cast<Producer*>(m.get())) producer->freeze_statistics();
}

}  // namespace qat::nn
