#pragma once
// An observer's memory that is a histogram: of Histogram, Entropy, Percentile and MeanSquaredError, per tensor.

#include <qat/core/quantizer.hpp>
#include <qat/core/squared_error.hpp>
#include <qat/ops/choose_grid.hpp>
#include <qat/ops/histogram.hpp>
#include <qat/torch.hpp>

#include <limits>
#include <span>
#include <utility>

namespace qat::nn {

/// Every tensor is added as it is seen, to a copy that takes the histogram's place in follow(): a shared grid sees the union
/// of a step. Values that are not finite are ignored.
/// State: histogram [B], min, max [] (the outer edges). min > max: nothing was seen yet.
/// Seeing does not wait for a device. Choosing does: the search runs on the host, over B numbers.
template <QuantizerSpec Spec> class HistogramObservation {
    using O = typename Spec::observer;
    using F = typename Spec::format;

public:
    static constexpr bool wants_values = true;

    HistogramObservation(torch::nn::Module& owner, std::vector<std::int64_t> const&) {
        constexpr auto inf = std::numeric_limits<float>::infinity();
        known_.counts = owner.register_buffer("histogram", torch::zeros({O::bins}));
        known_.min = owner.register_buffer("min", torch::tensor(inf));
        known_.max = owner.register_buffer("max", torch::tensor(-inf));
    }

    void see(RangeTensors const& seen, torch::Tensor const& values, torch::Tensor const& = {}) {
        if (values.numel() == 0) return;
        seen_ = add<O::counting>(seen_.counts.defined() ? seen_ : known_, values, seen);
    }

    bool follow() {
        if (!seen_.counts.defined()) return false;
        torch::NoGradGuard no_grad;
        auto const seen = std::exchange(seen_, {});
        known_.counts.copy_(seen.counts);
        known_.min.copy_(seen.min);
        known_.max.copy_(seen.max);
        return true;
    }

    torch::Tensor known() const { return torch::isfinite(known_.min) & torch::isfinite(known_.max); }

    /// What the grid should cover: found by the observer's search. Zero if nothing was seen.
    RangeTensors range(Levels levels = levels_of<F>) const {
        auto const ends = cover(levels);
        return {torch::full({}, ends.min, known_.min.options()),
                torch::full({}, ends.max, known_.max.options())};
    }

    GridTensors choose(Levels levels) const {
        auto const seen = host();
        if constexpr (Spec::scale::searches) {
            if (seen.empty()) return grid({smallest_scale, 0});
            return grid({least_error_scale<Spec>(seen.bins(), levels), 0});
        } else {
            auto const ends = seen.empty() ? Interval{0, 0} : O::template cover<Spec>(seen.bins(), levels);
            return grid(
                choose_grid<Spec>(static_cast<float>(ends.min), static_cast<float>(ends.max), levels));
        }
    }

    void forget() { seen_ = {}; }  // what was seen since the last follow
    void use(Levels, bool) {}
    void widen(torch::Tensor const& ratio) { known_.min.mul_(ratio), known_.max.mul_(ratio); }

private:
    HistogramTensors known_, seen_;  // seen_: with what was seen since the last follow; undefined: nothing

    struct Host {
        torch::Tensor counts;
        float min, max;
        bool empty() const { return !(min <= max); }
        Bins bins() const {
            return {std::span(counts.data_ptr<float>(), static_cast<std::size_t>(counts.numel())), min, max};
        }
    };
    Host host() const {
        return {known_.counts.to(torch::kCPU).contiguous(), known_.min.item<float>(),
                known_.max.item<float>()};
    }
    Interval cover(Levels levels) const {
        auto const seen = host();
        return seen.empty() ? Interval{0, 0} : O::template cover<Spec>(seen.bins(), levels);
    }
    GridTensors grid(ScaleZero g) const {
        auto const options = known_.min.options();
        return {torch::full({}, g.scale, options), torch::full({}, g.zero_point, options.dtype(torch::kInt))};
    }
};

}  // namespace qat::nn
