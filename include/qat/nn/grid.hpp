#pragma once
// What all output and weight grids have in common, whatever their specification; and what training does to all of them.

#include <qat/torch.hpp>

#include <string>

namespace qat::nn {

/// quantize: as trained and deployed. observe: let the range take in the tensor, pass it on as it is; the one forward
/// before the first step, which gives shared grids their range.
enum class GridMode { quantize, observe };

/// A grid that one producer has to itself moves as its quantizer says. A shared one is constant within a training step,
/// since its producers must agree and autograd saves it; its range is the union over producers and is averaged once per
/// step, in refresh().
class Grid : public torch::nn::Module {
public:
    torch::Tensor scale, zero_point;  // [] or [C]; undefined if the grid is Float
    bool observing = true;            // in training mode
    GridMode mode = GridMode::quantize;

    virtual torch::Tensor forward(torch::Tensor const& x) = 0;
    virtual void refresh() = 0;  // scale and zero point from what was seen since the last time
    virtual void share() = 0;    // from now on the scale moves between steps
    virtual std::string describe() const = 0;
    virtual bool quantized() const = 0;
    virtual bool fixed() const = 0;  // the range is the quantizer's own choice, whatever was seen
};

/// Calls f(Grid&) for every grid of a model, shared ones once.
template <class F> void for_each_grid(torch::nn::Module& model, F&& f) {
    for (auto const& m : model.modules())
        if (auto* grid = dynamic_cast<Grid*>(m.get())) f(*grid);
}

/// Between two training steps: the scales that move each step follow the range of the step before.
inline void refresh_scales(torch::nn::Module& model) {
    for_each_grid(model, [](Grid& g) {
        if (g.observing) g.refresh();
    });
}

/// Ranges and scales keep their values from now on. torch.ao: disable_observer.
inline void stop_observers(torch::nn::Module& model) {
    refresh_scales(model);
    for_each_grid(model, [](Grid& g) { g.observing = false; });
}
inline void start_observers(torch::nn::Module& model) {
    for_each_grid(model, [](Grid& g) { g.observing = true; });
}

/// Calls forward() once in training mode so that every grid which moves between steps gets a range, without quantizing
/// and without moving any batch norm. Before the first step of a model that has seen nothing.
template <class Forward> void observe_once(torch::nn::Module& model, Forward&& forward) {
    torch::NoGradGuard no_grad;
    bool const was_training = model.is_training();
    model.eval();  // batch norm by its statistics
    for_each_grid(model, [](Grid& g) { g.train(), g.mode = GridMode::observe; });
    forward();
    for_each_grid(model, [](Grid& g) { g.mode = GridMode::quantize; });
    refresh_scales(model);
    model.train(was_training);
}

}  // namespace qat::nn
