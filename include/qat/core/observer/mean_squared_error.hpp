#pragma once
// The shrunk range whose grid has the least squared error: what is clipped against what is rounded.

#include <qat/core/observer/follow.hpp>
#include <qat/core/observer/histogram.hpp>

namespace qat {

/// [f min, f max], f out of 1, 0.99, ..., 0.01. Unlike Histogram it measures the error on the very grid that is then used
/// (symmetric, power of two, ...), and looks at all factors.
/// Per tensor: on a histogram of everything seen. Per channel (weights): on the values of the last tensor seen.
template <int Count = 2048> struct MeanSquaredError {
    using slot = slot::observer;
    static constexpr std::string_view name = "least mean squared error";
    static constexpr bool fixed = false, per_tensor = false, one_threshold = false;
    static constexpr int bins = Count;
    static constexpr Counting counting = Counting::exact;
    static constexpr int factors = 100;
    static_assert(Count >= 2, "qat::MeanSquaredError: at least two bins");

    template <class Spec> static Interval cover(Bins const& h, Levels levels) {
        Interval best{h.min, h.max};
        double least = std::numeric_limits<double>::infinity();
        for (int i = factors; i > 0; --i) {
            double const f = static_cast<double>(i) / factors;
            auto const grid =
                choose_grid<Spec>(static_cast<float>(f * h.min), static_cast<float>(f * h.max), levels);
            double const e = squared_error(h, grid.scale, bounds(levels.lo, levels.hi, grid.zero_point));
            if (e < least) least = e, best = {f * h.min, f * h.max};
        }
        return best;
    }

    /// Per channel: the last tensor says it all.
    static constexpr FollowRule rule{Takes::latest};
    template <class T, class Extreme> static T follow(T const&, T const& seen, Extreme) { return seen; }
};

}  // namespace qat
