#pragma once
// What all output and weight grids have in common, whatever their specification; and what training does to all of them.

#include <qat/core/arithmetic.hpp>
#include <qat/core/join/join.hpp>
#include <qat/torch.hpp>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace qat::nn {

/// quantize: as trained and deployed. observe: let the range take in the tensor, pass it on as it is. prime: the same, but
/// only for grids that move between steps. bypass: pass it on.
enum class GridMode { quantize, observe, prime, bypass };

/// A grid that one producer has to itself moves as its quantizer says. A shared one is constant within a training step,
/// since its producers must agree and autograd saves it; its range is the union over producers and is averaged once per
/// step, in refresh().
class Grid : public torch::nn::Module {
public:
    torch::Tensor scale, zero_point;  // [] or [G]; undefined if the grid is Float
    Levels levels{0, 0};              // the integers in use: a format's, or fewer once bits have stepped down
    bool observing = true;            // in training mode
    GridMode mode = GridMode::quantize;
    bool of_weights = false;  // else of activations, whose first dimension counts images

    /// Called with what came in (after the activation) and what goes out, where it is set: reports and clip rates.
    std::function<void(torch::Tensor const&, torch::Tensor const&)> probe;

    virtual torch::Tensor forward(torch::Tensor const& x) = 0;
    virtual void refresh() = 0;  // scale and zero point from what was seen, or learned, since the last time
    virtual void
    share(SharedRange range) = 0;  // with other producers: the scale moves between steps from now on
    virtual std::string describe() const = 0;
    virtual bool quantized() const = 0;
    virtual bool fixed() const = 0;         // the range is the quantizer's own choice, whatever was seen
    virtual bool unseen() const = 0;        // wants to see a tensor before it can quantize one
    virtual bool power_of_two() const = 0;  // its scale is one
    /// Fewer bits than the format has. rescale: on the range that is known; else scale and zero point are those of that
    /// many bits already (they were read from a file).
    virtual void set_bits(int bits, bool rescale) = 0;
    /// What it quantizes was multiplied, each channel by a positive number: its range is as much wider, so that what lay on
    /// an integer still does, where the scale is the channel's own and is no power of two. A range of the quantizer's own
    /// choice stays.
    virtual void widen(torch::Tensor const& before, torch::Tensor const& after) = 0;
    virtual torch::Tensor learned() const = 0;  // the parameter it trains; undefined: none
    virtual void before_update() {}             // between the backward pass and the optimizer's step
    virtual void after_update() {}              // after it: what is trained was changed
    virtual void freeze_learned() = 0;          // and it stays as it is: optimizers skip it
    /// What training remembers of it besides parameters and buffers, by name: the tensors themselves, for a checkpoint to
    /// read and to write. Once refresh() has been called.
    virtual std::vector<std::pair<std::string, torch::Tensor>> memory() { return {}; }
    /// Scale and zero point of every channel of a tensor: [] or [C], whatever channels share.
    virtual std::pair<torch::Tensor, torch::Tensor> by_channel() const = 0;
    /// The integers that the quantizer's rounding makes of t, without noise.                              t's shape
    virtual torch::Tensor rounded(torch::Tensor const& t) const { return torch::round(t); }
};

/// Optimizers skip a parameter that has no gradient; a gradient of zeros, which zero_grad leaves in LibTorch 1.13, would
/// let momentum and weight decay move it.
inline void freeze(torch::Tensor parameter) {
    parameter.set_requires_grad(false);
    parameter.mutable_grad().reset();
}

/// Calls f(Grid&) for every grid of a model, shared ones once.
template <class F> void for_each_grid(torch::nn::Module& model, F&& f) {
    for (auto const& m : model.modules())
        if (auto* grid = dynamic_cast<Grid*>(m.get())) f(*grid);
}

/// Between two training steps: the scales that move each step follow the range of the step before.
inline void refresh_scales(torch::nn::Module& model) {
    for_each_grid(model, [](Grid& g) { g.refresh(); });
}

/// Ranges and scales keep their values from now on. torch.ao: disable_observer.
inline void stop_observers(torch::nn::Module& model) {
    refresh_scales(model);
    for_each_grid(model, [](Grid& g) { g.observing = false; });
}
inline void start_observers(torch::nn::Module& model) {
    for_each_grid(model, [](Grid& g) { g.observing = true; });
}

/// Whether tensors are put on their grids, or only seen, or let pass. torch.ao: enable_fake_quant.
inline void set_mode(torch::nn::Module& model, GridMode mode) {
    for_each_grid(model, [mode](Grid& g) { g.mode = mode; });
}

/// All grids use so many bits from now on, those whose format has fewer keep theirs.
inline void step_bits(torch::nn::Module& model, int bits, bool rescale = true) {
    for_each_grid(model, [=](Grid& g) { g.set_bits(bits, rescale); });
}

/// Trained scales and thresholds stay as they are.
inline void freeze_thresholds(torch::nn::Module& model) {
    for_each_grid(model, [](Grid& g) { g.freeze_learned(); });
}

/// Calls forward() once in training mode so that every grid which moves between steps gets a range, without quantizing
/// and without moving any batch norm. Before the first step of a model that has seen nothing.
template <class Forward> void observe_once(torch::nn::Module& model, Forward&& forward) {
    torch::NoGradGuard no_grad;
    bool const was_training = model.is_training();
    model.eval();  // batch norm by its statistics
    for_each_grid(model, [](Grid& g) { g.train(), g.mode = GridMode::prime; });
    forward();
    set_mode(model, GridMode::quantize);
    refresh_scales(model);
    model.train(was_training);
}

}  // namespace qat::nn
