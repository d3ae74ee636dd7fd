#pragma once
// A module whose result lies on a grid. Not a template: the graph and bind() see every such module through this class.

#include <qat/graph/graph.hpp>
#include <qat/nn/fake_quantize.hpp>

#include <optional>
#include <typeinfo>

namespace qat::nn {

/// A convolution's weight as training changes it, and how it is quantized.
struct QuantizedWeight {
    torch::Tensor weight;        // the parameter                                             [out, in, k, k]
    torch::Tensor bias;          // the parameter: of the convolution, or batch norm's beta   [out]
    torch::Tensor factor;        // what the grid sees is weight * factor; undefined: 1       [out]
    std::shared_ptr<Grid> grid;  // of the weight
    std::int64_t stride = 1, padding = 0;  // of the convolution
    torch::Tensor seen() const { return factor.defined() ? weight * factor.view({-1, 1, 1, 1}) : weight; }
};

class Producer : public torch::nn::Module {
public:
    explicit Producer(std::shared_ptr<Grid> grid) : grid_(register_module("output", std::move(grid))) {}

    std::shared_ptr<Grid> const& grid() const { return grid_; }

    /// Called with a convolution's input and its result before the activation, where it is set: bias correction and
    /// rounding by data measure, and may change the result in place.
    std::function<void(torch::Tensor const&, torch::Tensor const&)> tap;

    /// Whether the running statistics stay as they are, and are used in training too. Returns what held before: false
    /// without batch norm.
    virtual bool freeze_statistics(bool /*frozen*/ = true) { return false; }
    /// gamma and beta stay as they are, too.
    virtual void freeze_affine() {}
    /// The weight, if this is a convolution.
    virtual std::optional<QuantizedWeight> quantized_weight() const { return std::nullopt; }

    /// The grid of this module's input, for what needs it (a bias on the accumulator's grid).
    void reads(std::shared_ptr<Grid> grid) { input_grid_ = std::move(grid); }
    std::shared_ptr<Grid> const& input_grid() const { return input_grid_; }

    /// Whether the range of this module's result counts for its grid, where several share one.
    void set_counts(bool counts) { counts_ = counts; }

    /// From now on both results lie on the owner's grid. The owner keeps it registered, this module only refers to it,
    /// so that it appears once among parameters and buffers.
    void share_grid_of(Producer const& owner, SharedRange range = SharedRange::whole) {
        if (grid_ == owner.grid_) return;
        Grid const &mine = *grid_, &theirs = *owner.grid_;
        TORCH_CHECK(typeid(mine) == typeid(theirs),
                    "bind: two results that meet at a join have different quantizers (", mine.describe(),
                    " and ", theirs.describe(), "); give both the same, or use Unaligned");
        unregister_module("output");
        grid_ = owner.grid_;
        grid_->share(range);
    }

protected:
    /// Writes this module down as a node.
    graph::Value record(graph::Node node, std::vector<graph::Value> const& inputs) {
        node.producer = this;
        node.requantizes = grid_->quantized();
        if (node.requantizes) node.output = grid_->describe();
        return inputs.front().graph->record(std::move(node), this, inputs);
    }

    /// The activation of x on this module's grid, whose type the caller knows. x is a temporary: nobody reads it again.
    /// codes: the result carries its codes.
    template <class Spec, class Activation>
    torch::Tensor finish(Activation activation, torch::Tensor const& x, bool codes,
                         Storage storage = Storage::reuse) {
        return static_cast<FakeQuantizeImpl<Spec>&>(*grid_).forward(
            activation, x, {.storage = storage, .counts = counts_, .codes = codes});
    }

private:
    std::shared_ptr<Grid> grid_, input_grid_;
    bool counts_ = true;
};

/// Calls f(Producer&) for every module of a model whose result lies on a grid.
template <class F> void for_each_producer(torch::nn::Module& model, F&& f) {
    for (auto const& m : model.modules())
        if (auto* producer = dynamic_cast<Producer*>(m.get())) f(*producer);
}

/// Batch norm uses its running statistics from now on, and they no longer move. torch.ao: freeze_bn_stats.
/// affine: gamma and beta stay as they are, too.
inline void freeze_batch_norm(torch::nn::Module& model, bool affine = false) {
    for_each_producer(model, [affine](Producer& p) {
        p.freeze_statistics();
        if (affine) p.freeze_affine();
    });
}

}  // namespace qat::nn
