#pragma once
// The range without the outermost values. Of a histogram, so that it takes any number of tensors.

#include <qat/core/arithmetic.hpp>
#include <qat/core/bins.hpp>
#include <qat/core/observer/histogram.hpp>
#include <qat/core/slots.hpp>

#include <ratio>
#include <string_view>

namespace qat {

/// Share: a std::ratio, since clang 14 has no floating-point template arguments. At each end, 1 - Share of the values
/// are cut off; a share of 1 is MinMax. Percentile<std::ratio<9999, 10000>>
template <class Share = std::ratio<9999, 10000>, int Count = 2048> struct Percentile {
    using slot = slot::observer;
    static constexpr std::string_view name = "percentile";
    static constexpr bool fixed = false, per_tensor = true, one_threshold = false;
    static constexpr bool chooses_ends = true;  // by a criterion of its own
    static constexpr int bins = Count;
    static constexpr Counting counting = Counting::exact;
    static constexpr double share = double(Share::num) / double(Share::den);
    static_assert(Count >= 2, "qat::Percentile: at least two bins");
    static_assert(share > 0.5 && share <= 1,
                  "qat::Percentile: more than one half, 1 at most; e.g. std::ratio<999, 1000>");

    template <class Spec> static Interval cover(Bins const& h, Levels) {
        double const total = h.total();
        if (h.one_value() || !(total > 0)) return {h.min, h.max};
        double const most = (1 - share) * total;  // may be cut off at one end
        auto const walk = [&](auto at) {          // how many bins, with a fraction, hold that many
            double left = most;
            for (std::size_t i = 0; i < h.counts.size(); ++i) {
                double const n = at(i);
                if (n > left) return static_cast<double>(i) + left / n;
                left -= n;
            }
            return static_cast<double>(h.counts.size());
        };
        double const below = walk([&](std::size_t i) { return h.counts[i]; });
        double const above = walk([&](std::size_t i) { return h.counts[h.counts.size() - 1 - i]; });
        return {h.min + below * h.width(), h.max - above * h.width()};
    }
};

}  // namespace qat
