#pragma once
// Whether the grids of a network run away while it trains: how far their ranges have moved, and how much they
// clip.

#include <qat/nn/producer.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace qat::nn {

/// In octaves: 1 is a doubling or a halving.
struct Drift {
    double mean = 0, largest = 0;  // absolute; the mean is over grids, and within a grid over its channels
    std::string path;              // of the grid that moved most
};

/// |log2(range now / range then)| of every grid, where the range is the scale times the number of integers,
/// so that a step of bits is no drift. Grids that had seen nothing then do not count. The model must outlive
/// it.
class ScaleDrift {
public:
    explicit ScaleDrift(torch::nn::Module& model) : model_(model) { ranges_ = read(); }
    /// Goes on from what ranges() was when a run was interrupted.
    ScaleDrift(torch::nn::Module& model, std::map<std::string, torch::Tensor> ranges)
        : model_(model), ranges_(std::move(ranges)) {}

    /// log2 of every grid's range at the last step, [] or [G].
    std::map<std::string, torch::Tensor> const& ranges() const { return ranges_; }

    /// Since the last call, or since the beginning.
    Drift step() {
        auto const before = std::exchange(ranges_, read());
        Drift drift;
        int grids = 0;
        for (auto const& [path, range] : ranges_) {
            auto const old = before.find(path);
            if (old == before.end()) continue;
            auto const moved = (range - old->second).abs();
            auto const most = moved.max().item<double>();
            drift.mean += moved.mean().item<double>(), ++grids;
            if (!(most <= drift.largest)) drift.largest = most, drift.path = path;  // NaN counts as more
        }
        if (grids > 0) drift.mean /= grids;
        return drift;
    }

private:
    std::map<std::string, torch::Tensor> read() const {  // log2, [] or [G]
        torch::NoGradGuard no_grad;
        std::map<std::string, torch::Tensor> ranges;
        for (auto const& item : model_.named_modules()) {
            auto const* grid = dynamic_cast<Grid const*>(item.value().get());
            if (grid && grid->quantized() && !grid->unseen())
                ranges[item.key()] = torch::log2(grid->scale * (grid->levels.hi - grid->levels.lo + 1));
        }
        return ranges;
    }

    torch::nn::Module& model_;
    std::map<std::string, torch::Tensor> ranges_;
};

/// What one grid did with the values that came in.
struct Clipped {
    std::string path;
    std::int64_t values = 0, outside = 0;
    bool fixed = false;  // the range is the quantizer's own choice, and clipping is its purpose
    double rate() const { return values ? static_cast<double>(outside) / static_cast<double>(values) : 0; }
};

/// Of all grids that forward() reaches, in evaluation mode and without gradient, how many values lay farther
/// outside the range than rounding explains, half a step; NaN counts as outside. Nothing moves; probes are
/// set aside meanwhile.
template <class Forward> std::vector<Clipped> clip_rates(torch::nn::Module& model, Forward&& forward) {
    torch::NoGradGuard no_grad;
    struct Watched {
        Grid* grid;
        Clipped found;
        torch::Tensor outside;  // int64 []: read once, in the end
        decltype(Grid::probe) probe;
    };
    std::vector<Watched> watched;
    struct Restore {
        torch::nn::Module& model;
        std::vector<Watched>& watched;
        bool training = model.is_training();
        ~Restore() {
            for (auto& w : watched) w.grid->probe = std::move(w.probe);
            model.train(training);
        }
    } const restore{model, watched};

    std::vector<Grid const*> of_weights;
    for_each_producer(model, [&](Producer const& p) {
        if (auto const w = p.quantized_weight()) of_weights.push_back(w->grid.get());
    });
    for (auto const& item : model.named_modules())
        if (auto* grid = dynamic_cast<Grid*>(item.value().get()); grid && grid->quantized())
            watched.push_back(
                {grid, {.path = item.key(), .fixed = grid->fixed()}, {}, std::move(grid->probe)});
    for (auto& w : watched) {
        bool const is_weight = std::count(of_weights.begin(), of_weights.end(), w.grid) > 0;
        w.grid->probe = [&w, axis = is_weight ? 0 : 1](torch::Tensor const& x, torch::Tensor const&) {
            auto [scale, zero] = w.grid->by_channel();
            if (scale.dim() > 0) {
                std::vector<std::int64_t> shape(static_cast<std::size_t>(x.dim()), 1);
                shape[static_cast<std::size_t>(axis)] = -1;
                scale = scale.view(shape), zero = zero.view(shape);
            }
            auto const& levels = w.grid->levels;
            auto const code = w.grid->rounded(x / scale) + zero;
            auto const outside = ((code >= levels.lo) & (code <= levels.hi)).logical_not_().sum();
            w.outside = w.outside.defined() ? w.outside + outside : outside;
            w.found.values += x.numel();
        };
    }
    model.eval();
    forward();

    std::vector<Clipped> result;
    for (auto& w : watched) {
        if (!w.outside.defined()) continue;
        w.found.outside = w.outside.template item<std::int64_t>();
        result.push_back(w.found);
    }
    return result;
}

}  // namespace qat::nn
